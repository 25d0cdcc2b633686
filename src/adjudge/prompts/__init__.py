"""Templates, verbalizers and the one function that renders token ids."""

from adjudge.prompts.build import Style, build_prompt
from adjudge.prompts.prompt import Prompt

__all__ = ["Prompt", "Style", "build_prompt"]
