"""Write down what is said in a recording: `python examples/phi4mm_audio.py AUDIO [MODEL]`."""

import sys

from mistralrs_mlx import ChatCompletionRequest, Runner, VisionArchitecture, Which

audio, *model = sys.argv[1:]
runner = Runner(
    which=Which.VisionPlain(
        model_id=model[0] if model else "microsoft/Phi-4-multimodal-instruct",
        arch=VisionArchitecture.Phi4MM,
    ),
    in_situ_quant="4",
)

stream = runner.send_chat_completion_request(
    ChatCompletionRequest(
        model="default",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "audio_url", "audio_url": {"url": audio}},
                    {"type": "text", "text": "Transcribe the audio to text."},
                ],
            }
        ],
        max_tokens=256,
        temperature=0.0,
        stream=True,
    )
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
