"""Hold an answer to a regular expression: `python examples/regex.py [MODEL]`.

The dialect is that of Rust's `regex`; look-around and back-references do not exist in it.
"""

import sys

from mistralrs_mlx import ChatCompletionRequest, Runner, Which, demo_model

which = Which.Plain(model_id=sys.argv[1]) if len(sys.argv) > 1 else demo_model()
runner = Runner(which=which)

res = runner.send_chat_completion_request(
    ChatCompletionRequest(
        model="default",
        messages=[{"role": "user", "content": "Give the opening time of a bakery."}],
        grammar=r"(Monday|Saturday), 0[5-9]:[0-5]0 to 1[0-9]:[0-5]0\.",
        grammar_type="regex",
        max_tokens=64,
        temperature=0.1,
    )
)
print(res.choices[0].message.content)
