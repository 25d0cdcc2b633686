"""Neighbouring code pages: what a file of a language is read as."""

from __future__ import annotations

import pytest

from adjudge.core.errors import DataError
from adjudge.data.files.codepages import guess_encoding
from adjudge.data.files.encodings import find_encoding

WESTERN = {
    "French": ["Le café est très bon, j'ai adoré", "Une crème brûlée à l'œuvre", "Déçu, ça ne marche plus"],
    "German": ["Sehr schön, großartig", "Die Bedienung war unhöflich", "Überhaupt nicht für Anfänger"],
    "Spanish": ["Muy buena película, me encantó", "El niño está contento", "¡Qué lástima!"],
    "Portuguese": ["Ótimo filme, não percam", "O serviço foi péssimo", "Coração partido, difícil"],
    "Danish": ["Meget god film på æsken", "Betjeningen var uhøflig", "Øv, måske næste år"],
    "Icelandic": ["Þetta var mjög góð mynd", "Ég er ekki ánægður með þjónustuna", "Það er ýmislegt"],
    "several": ["Très bon film", "Sehr schön, großartig", "El niño", "Não recomendo", "Överraskande på åer"],
    "English": ["It’s fine – really", "don’t buy", "£5 is too much", "the café, naïve"],
}
OTHERS = {
    ("Turkish", "cp1254"): ["Çok güzel bir ürün, teşekkürler", "Kargo geç geldi, beğenmedim", "İyi, ışığı açık"],
    ("Czech", "cp1250"): ["Film byl příliš dlouhý a nudný", "Skvělá obsluha, určitě přijdu", "Můj oblíbený hrdina"],
    ("Polish", "cp1250"): ["Świetny film, bardzo mi się podobał", "Obsługa była niemiła", "Źle wydane pieniądze"],
    ("Hungarian", "cp1250"): ["Nagyon jó film volt, hűvös", "Gyönyörű hely, őszintén ajánlom", "Rossz, többet nem"],
    ("Lithuanian", "cp1257"): [
        "Labai geras filmas, ačiū",
        "Aptarnavimas buvo lėtas",
        "Rekomenduoju visiems šią knygą",
    ],
}


@pytest.mark.parametrize("texts", WESTERN.values(), ids=WESTERN)
@pytest.mark.parametrize("times", [1, 20])
def test_western_languages_are_western_and_never_a_neighbour(texts, times):
    sample = "\n".join(texts * times).encode("cp1252")
    assert guess_encoding(sample) in ("cp1252", "latin-1")
    assert sample.decode(guess_encoding(sample)) == "\n".join(texts * times)


@pytest.mark.parametrize(("page", "texts"), [(page, texts) for (_, page), texts in OTHERS.items()])
def test_languages_of_the_neighbouring_pages_are_read_with_their_letters(page, texts):
    sample = "\n".join(texts).encode(page)
    assert sample.decode(guess_encoding(sample)) == "\n".join(texts)


def test_turkish_without_its_own_letters_is_called_by_the_commoner_name():
    assert guess_encoding("Bu ürün çok güzel, kötü değil".replace("ğ", "g").encode("cp1254")) == "latin-1"


@pytest.mark.parametrize("name", ["base64", "rot13", "idna", "nothing"])
def test_codecs_that_are_no_encoding_of_files_are_refused(tmp_path, name):
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(DataError, match=f"unknown encoding '{name}'"):
        find_encoding(tmp_path / "a.csv", name)
