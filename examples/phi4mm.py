"""Ask about a picture and a recording at once: `python examples/phi4mm.py IMAGE AUDIO [MODEL]`."""

import sys

from mistralrs_mlx import ChatCompletionRequest, Runner, VisionArchitecture, Which

image, audio, *model = sys.argv[1:]
runner = Runner(
    which=Which.VisionPlain(
        model_id=model[0] if model else "microsoft/Phi-4-multimodal-instruct",
        arch=VisionArchitecture.Phi4MM,
    ),
    in_situ_quant="4",
)

res = runner.send_chat_completion_request(
    ChatCompletionRequest(
        model="default",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "audio_url", "audio_url": {"url": audio}},
                    {"type": "image_url", "image_url": {"url": image}},
                    {
                        "type": "text",
                        "text": "<|audio_1|><|image_1|>Describe both the recording and the image.",
                    },
                ],
            }
        ],
        max_tokens=256,
        temperature=0.1,
    )
)
print(res.choices[0].message.content)
print(res.usage)
