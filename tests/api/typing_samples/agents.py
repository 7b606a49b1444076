"""Adapters, agents, search and MCP."""

from pathlib import Path

from mistralrs_mlx import (
    AgentPermission,
    AgentToolApproval,
    AgentToolApprovalDecision,
    AgentToolKind,
    ApproximateUserLocation,
    ChatCompletionRequest,
    CodeExecutionConfig,
    CodeExecutionPermission,
    InputFile,
    LoraAdapter,
    LoraAdapterError,
    LoraAdapterGeneration,
    McpClientConfigPy,
    McpServerConfigPy,
    McpServerSourcePy,
    NetworkMode,
    Runner,
    SandboxPolicy,
    SearchContextSize,
    WebSearchOptions,
    WebSearchUserLocation,
    Which,
)


def approve(call: AgentToolApproval) -> AgentToolApprovalDecision:
    if call.tool.kind == AgentToolKind.CodeExecution and call.code:
        return AgentToolApprovalDecision.approve(remember_for_session=True)
    return AgentToolApprovalDecision.deny("not today")


place = ApproximateUserLocation("Bern", "CH", "BE", "Europe/Zurich")
request = ChatCompletionRequest(
    "Hi",
    "default",
    adapter=LoraAdapterGeneration("0" * 64),
    agent_permission=AgentPermission.Ask,
    agent_approval_callback=approve,
    code_execution_permission=CodeExecutionPermission.Auto,
    input_files=[InputFile.from_text("a.csv", "1,2", "text/csv")],
    web_search_options=WebSearchOptions(
        search_context_size=SearchContextSize.Low,
        user_location=WebSearchUserLocation.approximate(place),
    ),
)
lora = Which.Lora("base", adapters=[LoraAdapter("code", "adapters/code")])
Runner(lora).load_lora_adapter("code", Path("adapters"))
early_lora = Which.Lora(adapter_model_ids=["a"], model_id="base")
code = CodeExecutionConfig(
    sandbox_policy=SandboxPolicy(network=NetworkMode.NoNetwork), permission="ask"
)
server = McpServerConfigPy(
    id="files",
    name="Files",
    source=McpServerSourcePy.Process(command="npx", args=["server"], work_dir=None, env=None),
)
client = McpClientConfigPy(servers=[server])
client.tool_timeout_secs = 10
try:
    raise LoraAdapterError("gone", "lora_adapter_not_found")
except LoraAdapterError as error:
    reason: str = error.code
