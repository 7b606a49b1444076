"""mlx-lm on dense float32 weights, its products routed to the BLAS that we use."""

from mlx_lm_packed import MlxLm
from protocol import serve

from mistralrs_mlx.cpu.blas import bind_openblas


def dense(model: str) -> MlxLm:
    bind_openblas()
    return MlxLm(model, dense=True)


if __name__ == "__main__":
    serve(dense)
