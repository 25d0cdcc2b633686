"""Messages, verbalizers and the one function that renders token ids."""

from adjudge.prompts.demonstrations import Demonstration
from adjudge.prompts.encode import Style, build_prompt
from adjudge.prompts.prompt import Prompt
from adjudge.prompts.replies import ReplyParser

__all__ = ["Demonstration", "Prompt", "ReplyParser", "Style", "build_prompt"]
