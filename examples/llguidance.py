"""Several grammars that use each other: `python examples/llguidance.py [MODEL]`.

`grammar` is a dict or its JSON text. The answer is a `start` of the first grammar; `@name` in it
stands for the grammar of that name.
"""

import json
import sys

from mistralrs_mlx import ChatCompletionRequest, Runner, Which, demo_model

which = Which.Plain(model_id=sys.argv[1]) if len(sys.argv) > 1 else demo_model()
runner = Runner(which=which)

pet = {"properties": {"kind": {"enum": ["cat", "dog"]}}, "required": ["kind"]}
grammars = [
    {"name": "top", "lark_grammar": r'start: "I have " (@pet | "no pet") "."'},
    {"name": "pet", "json_schema": {"type": "object", "additionalProperties": False, **pet}},
]
res = runner.send_chat_completion_request(
    ChatCompletionRequest(
        model="default",
        messages=[{"role": "user", "content": "Do you have a pet?"}],
        grammar=json.dumps({"grammars": grammars}),
        grammar_type="llguidance",
        max_tokens=48,
        temperature=0,
    )
)
print(res.choices[0].message.content)
