"""Text LLMs behind one interface: a request in, a reply or a failure with its reason out."""

from earwitness.llm.chat import Chat, ChatRequest, Failure, Reply, Usage
from earwitness.llm.endpoint import Endpoint

__all__ = ["Chat", "ChatRequest", "Endpoint", "Failure", "Reply", "Usage"]
