"""OpenAI's Responses API: what is asked, the items of a conversation, and what is kept of it."""
