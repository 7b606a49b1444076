"""mistralrs_mlx, through its public interface."""

from api import Api
from protocol import serve

import mistralrs_mlx

if __name__ == "__main__":
    serve(lambda model: Api(mistralrs_mlx, model, threads=True))
