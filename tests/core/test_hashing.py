import hashlib
from pathlib import Path

from adjudge.core.hashing import canonical_json, hash_file, hash_json, hash_rows, hash_text


def test_equal_values_give_equal_json_whatever_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1, "ä"]}) == canonical_json({"a": [1, "ä"], "b": 1}) == '{"a":[1,"ä"],"b":1}'


def test_hashes_are_sha256_of_known_bytes(tmp_path: Path) -> None:
    assert hash_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert hash_text("ไทย") == hashlib.sha256("ไทย".encode()).hexdigest()[:16]
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    assert hash_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_rows_hash_their_order_and_their_boundaries() -> None:
    assert hash_rows([("a", "b")]) != hash_rows([("b", "a")])
    assert hash_rows([("a", "b")]) != hash_rows([("a",), ("b",)])
    assert hash_rows([("ab", "")]) != hash_rows([("a", "b")])
    assert hash_rows([("a\n", "b")]) != hash_rows([("a", "\nb")])
    assert hash_rows(iter([("a", "b")])) == hash_rows([("a", "b")])


def test_half_a_surrogate_pair_hashes_too() -> None:
    assert len(hash_text("\ud83d")) == 16
    assert hash_rows([("\ud83d",)]) != hash_rows([("\ud83e",)])
