"""A server of OpenAI's HTTP routes before a `Runner`. It stands before the package as any user.

`serve(runner, Settings())` answers until it is told to stop; `application` is the same as an ASGI
application, for a server of your own. Needs `pip install 'mistralrs-mlx[server]'`.
"""

try:
    from .app import application
    from .config import Config, read_config, which_of
    from .listening import serve
    from .settings import Settings
except ModuleNotFoundError as error:
    package, _, _ = (error.name or "").partition(".")
    if package not in ("msgspec", "starlette", "uvicorn"):
        raise
    raise ModuleNotFoundError(
        f"serving needs {package}: pip install 'mistralrs-mlx[server]'", name=error.name
    ) from error

__all__ = ["Config", "Settings", "application", "read_config", "serve", "which_of"]
