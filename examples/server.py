"""Answer over HTTP, for any client of OpenAI's: `python examples/server.py [MODEL ...]`.

curl http://127.0.0.1:1234/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
"""

import sys

from mistralrs_mlx import Runner, Which, demo_model
from mistralrs_mlx.server import Settings, serve

models: list[Which] = [Which.Plain(model_id=name) for name in sys.argv[1:]]
models = models or [demo_model()]
settings = Settings(port=1234, max_requests=32)  # on this machine alone; see docs/serving.md

with Runner(which=models[0]) as runner:
    for which in models[1:]:
        runner.add_model(which)
    print(f"http://{settings.host}:{settings.port}/v1 answers; Ctrl-C ends it")
    serve(runner, settings)
