"""A way from `cblas_sgemm` to `cblas_sgemv` for products of a single row.

OpenBLAS copies a matrix before it multiplies it, which pays for many rows. With one row, as in
each decode step, the copy takes three times as long as the product, unless the build has kernels
for small matrices, as those for AVX-512 have. MLX calls `cblas_sgemm` whatever the shape. So a
few instructions stand before it and send what is a matrix times a vector to the function for that.
"""

import ctypes
import mmap
import platform

__all__ = ["detour"]

# System V x86-64. cblas_sgemm has order, transA, transB, M, N, K in edi esi edx ecx r8d r9d, alpha
# and beta in xmm0 and xmm1, and A lda B ldb C ldc on the stack. cblas_sgemv has order, trans, rows,
# columns, matrix, its stride in edi esi edx ecx r8 r9d, and X incX Y incY on the stack.
_BEFORE = (
    "f30f1efa"  #               endbr64
    "83f901 7578"  #            cmp ecx, 1;     jne gemm      one row,
    "83ff65 7573"  #            cmp edi, 101;   jne gemm      row-major,
    "83fe6f 756e"  #            cmp esi, 111;   jne gemm      stored as it is used,
    "4585c9 7469"  #            test r9d, r9d;  jz  gemm      and not empty
    "8d4291 83f801 7761"  #     lea eax, [rdx-111]; cmp eax, 1; ja gemm
    "4883ec28"  #               sub rsp, 40
    "488b442430 48890424"  #    X = A
    "48c744240801000000"  #     incX = 1
    "488b442450 4889442410"  #  Y = C
    "48c744241801000000"  #     incY = 1
    "83fa70 750d"  #            cmp edx, 112;   jne straight
    "be6f000000 4489c2 4489c9"  # matrix (N, K) times X
    "eb0b"  #                   jmp call
    "be70000000 4489ca 4489c1"  # straight: matrix (K, N) transposed times X
    "4c8b442440 448b4c2448"  #  call: matrix = B, its stride = ldb
    "48b8"  #                   mov rax, sgemv
)
_BETWEEN = (
    "ffd0"  #                   call rax
    "4883c428 c3"  #            add rsp, 40;    ret
    "48b8"  #                   gemm: mov rax, sgemm
)
_AFTER = "ffe0"  #              jmp rax


def detour(sgemm: int, sgemv: int) -> int | None:
    """The address of a function that serves as `cblas_sgemm`, made of these two.

    None where it cannot be had: on other processors, or if no page may become executable. The
    page is never given back, since MLX's threads may outlive Python's objects.
    """
    if platform.machine() != "x86_64":  # OpenBLAS for ARM does the same by itself
        return None
    code = b"".join(
        (bytes.fromhex(_BEFORE), _pointer(sgemv), bytes.fromhex(_BETWEEN), _pointer(sgemm))
    ) + bytes.fromhex(_AFTER)
    return _executable(code)


def _pointer(address: int) -> bytes:
    return address.to_bytes(8, "little")


def _executable(code: bytes) -> int | None:
    """Put these instructions into a page of their own: written first, executable then."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    page = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
    if page in (None, ctypes.c_void_p(-1).value):
        return None
    ctypes.memmove(page, code, len(code))
    refused = libc.mprotect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    return None if refused else int(page)
