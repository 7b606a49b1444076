"""mistral.rs itself. Its Runner refuses a second thread, so it shows no batches."""

import mistralrs
from api import Api
from protocol import serve

if __name__ == "__main__":
    serve(lambda model: Api(mistralrs, model, threads=False))
