import gzip

import pytest

from adjudge.core.errors import DataError
from adjudge.data.files.encodings import Encoding, find_encoding, open_text

CHINESE = "text,label\n这部电影很好看,正面\n服务太差了,负面\n"
FRENCH = "text,label\ncafé très bon, voilà,1\nl’été à Noël – déjà fini,0\n"


def write(tmp_path, content: bytes, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def decoded(path, declared=None):
    encoding = find_encoding(path, declared)
    with open_text(path, encoding) as stream:
        return encoding, stream.read()


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf8_and_byte_order_marks_are_known_not_guessed(tmp_path, name):
    encoding, text = decoded(write(tmp_path, CHINESE.encode(name)))
    assert text == CHINESE
    assert not encoding.guessed


def test_gb18030_is_found_and_marked_as_guessed(tmp_path):
    encoding, text = decoded(write(tmp_path, CHINESE.encode("gb18030")))
    assert (encoding, text) == (Encoding("gb18030", guessed=True), CHINESE)


def test_latin1_is_found_and_marked_as_guessed(tmp_path):
    content = FRENCH.replace("’", "'").replace("–", "-")
    encoding, text = decoded(write(tmp_path, content.encode("latin-1")))
    assert (encoding, text) == (Encoding("latin-1", guessed=True), content)


def test_windows_quotes_and_dashes_mean_cp1252(tmp_path):
    encoding, text = decoded(write(tmp_path, FRENCH.encode("cp1252")))
    assert (encoding, text) == (Encoding("cp1252", guessed=True), FRENCH)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cp1251", "Отличный фильм, мне очень понравилось, советую всем посмотреть его вместе с друзьями и семьёй"),
        ("shift_jis", "この映画はとても面白かったです。もう一度見たいと思いますし、友達にもおすすめします。"),
        ("euc_kr", "이 영화는 정말 재미있었습니다. 친구들에게도 추천하고 싶고 다시 한번 보고 싶습니다."),
    ],
)
def test_other_scripts_are_found_or_refused_but_never_become_mojibake(tmp_path, name, sentence):
    path = write(tmp_path, (sentence + "\n").encode(name) * 5)
    try:
        text = decoded(path)[1]
    except DataError:
        text = decoded(path, name)[1]
    assert text == (sentence + "\n") * 5


def test_cyrillic_is_found(tmp_path):
    text = "Отличный фильм, мне очень понравилось, советую всем посмотреть его вместе с друзьями\n" * 5
    assert decoded(write(tmp_path, text.encode("cp1251")))[1] == text


@pytest.mark.parametrize("cut", [b"\xc3", b"\xe2\x82", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xc3\n"])
@pytest.mark.parametrize("around", [b"text,label\nfine,1\ncaf%s,0\n", "text,label\nnaïve – 你好,1\nx%s,0\n".encode()])
def test_half_a_utf8_sequence_is_an_error_that_names_the_byte_and_line(tmp_path, cut, around):
    content = around.replace(b"%s", cut)
    offset = around.index(b"%s")
    with pytest.raises(DataError, match=rf"a\.csv: byte 0x{cut[0]:02X} at offset {offset} \(line 3\)"):
        find_encoding(write(tmp_path, content))


def test_a_break_beyond_the_first_chunk_is_placed_exactly(tmp_path):
    start = "é1234567\n".encode() * 200_000
    with pytest.raises(DataError, match=rf"offset {len(start) + 1} \(line 200001\)"):
        find_encoding(write(tmp_path, start + b"a\xe2\x82 b\n"))


@pytest.mark.parametrize("declared", [None, "latin-1", "utf-8"])
def test_nul_bytes_are_an_error_with_the_line(tmp_path, declared):
    with pytest.raises(DataError, match=r"NUL byte.*line 2"):
        find_encoding(write(tmp_path, b"text,label\nab\0c,1\n"), declared)


def test_a_declared_encoding_is_used_and_checked(tmp_path):
    path = write(tmp_path, CHINESE.encode("gb18030"))
    assert decoded(path, "gb18030") == (Encoding("gb18030"), CHINESE)
    with pytest.raises(DataError, match=r"offset 11 \(line 2\) is not valid ascii"):
        find_encoding(path, "ascii")
    with pytest.raises(DataError, match="unknown encoding 'utf-99'"):
        find_encoding(path, "utf-99")


def test_gzip_is_read_through_and_damage_is_an_error(tmp_path):
    packed = gzip.compress(CHINESE.encode() * 100)
    assert decoded(write(tmp_path, packed))[1] == CHINESE * 100
    with pytest.raises(DataError, match="damaged gzip"):
        find_encoding(write(tmp_path, packed[:-20]))
