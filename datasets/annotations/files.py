"""Reading text and XML files of unknown origin: size, depth and number of elements are bounded, entities refused."""

import os
import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from utils.base.errors import DataError
from utils.base.text import quoted

MAX_TEXT_BYTES = 512 << 20
MAX_ROWS = 5_000_000
"""Rows or samples of a text file: 55 hours at 25 frames per second."""

MAX_XML_BYTES = 32 << 20
MAX_XML_ELEMENTS = 500_000
MAX_XML_DEPTH = 32

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_text(path: Path, remedy: str, fallback_encoding: str | None = None) -> str:
    """Read a file of at most MAX_TEXT_BYTES as UTF-8 text, without byte order mark.

    Args:
        path: the file.
        remedy: what the user can do if it is not UTF-8, for the error message.
        fallback_encoding: encoding of files that are not UTF-8; None = such files are refused.

    Raises:
        DataError: the file cannot be read, is too large, or is not UTF-8.
    """
    data = read_bytes(path, MAX_TEXT_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if fallback_encoding is not None:
            try:
                return data.decode(fallback_encoding)
            except UnicodeDecodeError:
                pass
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); {remedy}") from error


def read_xml(path: Path, root: str) -> Element:
    """Read an XML file of at most MAX_XML_BYTES, without document type and entities, so that none can be expanded.

    Args:
        path: the file.
        root: the tag that its root element must have.

    Returns:
        The root element.

    Raises:
        DataError: the file cannot be read, is too large, is not well-formed, or has another root.
    """
    return parse_xml(read_bytes(path, MAX_XML_BYTES), path, root)


def parse_xml(content: bytes | str, path: Path, root: str) -> Element:
    """Parse the content of an XML file like `read_xml`; text is parsed as such, whatever encoding it declares."""
    parser = DefusedXMLParser(target=_BoundedTree(path), forbid_dtd=True)
    try:
        parser.feed(content)
        tree = parser.close()
    except DataError:
        raise
    except DefusedXmlException as error:
        raise DataError(f"{path}: declares a document type or entities, which are refused; export it anew") from error
    except (ParseError, ValueError, LookupError) as error:  # the last two: encodings that the parser lacks
        raise DataError(f"{path}: is no intact XML ({error}); export it anew") from error
    if tree.tag != root:
        raise DataError(f"{path}: its root is {quoted(tree.tag)}, not {root!r}; check the file's ending")
    return tree


class _BoundedTree(TreeBuilder):
    """Builds the element tree, and raises DataError when it grows beyond what an annotation can be."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.depth = self.elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_XML_DEPTH or self.elements > MAX_XML_ELEMENTS:
            raise DataError(f"{self.path}: nested or long beyond any annotation; export it anew")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        return super().end(tag)


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes; DataError if it is larger or cannot be read."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; check the path of the labels")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); restore the file") from error
    if len(data) > limit:
        raise DataError(f"{path}: larger than {limit / 2**20:g} MB, too large for one video; split it")
    return data


def xml_text(value: object) -> str:
    """Text for an XML file: characters that XML cannot hold (control characters, lone surrogates) become U+FFFD."""
    return _NOT_XML.sub("\ufffd", str(value))
