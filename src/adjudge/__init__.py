"""adjudge: turn a language model into a text classifier you can defend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["TextClassifier", "__version__"]

if TYPE_CHECKING:
    from adjudge.face.text_classifier import TextClassifier


def __getattr__(name: str) -> Any:
    if name == "TextClassifier":
        from adjudge.face.text_classifier import TextClassifier

        return TextClassifier
    raise AttributeError(f"module 'adjudge' has no attribute {name!r}")
