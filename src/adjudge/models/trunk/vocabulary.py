"""Whether a tokenizer has a vocabulary: without one, every text is the same to a model, and nothing else fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import ModelNotFoundError

# What vocabularies are kept in: of the tokenizers library, WordPiece, byte-level BPE, SentencePiece, tiktoken, Tekken.
_FILES = ("tokenizer.json", "vocab*", "*.model", "*.tiktoken", "tekken.json")
# "The house is good, and the day is long." in the scripts of most languages, and letters and digits by themselves.
ORDINARY = (
    "the house is good and the day is long",
    "дом хороший, и день долгий",
    "το σπίτι είναι καλό",
    "البيت جيد واليوم طويل",
    "הבית טוב והיום ארוך",
    "घर अच्छा है और दिन लंबा है",
    "বাড়িটি ভালো",
    "வீடு நன்றாக இருக்கிறது",
    "บ้านดีและวันยาว",
    "房子很好，白天很长",
    "家は良いです",
    "집이 좋고 하루가 길다",
    "სახლი კარგია",
    "տունը լավն է",
    "ቤቱ ጥሩ ነው",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9",
)


class KnownCounter(Protocol):
    """A tokenizer that can tell what it knows."""

    def count_known(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """See `adjudge.models.trunk.tokenizer.ModelTokenizer.count_known`."""


def refuse_missing_files(folder: Path) -> None:
    """Refuse a local model without any file of a vocabulary.

    Raises:
        ModelNotFoundError: so it is.
    """
    if not any(any(folder.glob(pattern)) for pattern in _FILES):
        raise ModelNotFoundError(
            f"{folder}: has no vocabulary (none of {', '.join(_FILES)}), so no text could be read; copy the "
            "tokenizer's files from where the model came from into that folder"
        )


def refuse_without_vocabulary(tokenizer: KnownCounter, source: str) -> None:
    """Refuse a tokenizer that knows nothing of ordinary words in any script.

    Args:
        tokenizer: the model's.
        source: folder or hub id, for the message.

    Raises:
        ModelNotFoundError: so it is.
    """
    if not tokenizer.count_known(ORDINARY).any():
        raise ModelNotFoundError(
            f"{source}: its tokenizer knows nothing of ordinary words and letters, in any of {len(ORDINARY)} scripts, "
            "so every text would be the same to the model: its vocabulary is missing or empty; copy the tokenizer's "
            "files from where the model came from"
        )
