"""Decode a Parquet file within a bound.

Runs, dictionaries and shared prefixes of text turn huge tables into small files.
"""

import os
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from vsweep.tasks.data.dataset import repeated
from vsweep.tasks.data.streams import VALUE_BYTES, check_columns, too_large

# The memory of a footer that is read, over its bytes.
_FOOTER = 8
# The number of rows of text that are decoded at once.
_BATCH, _SMALL_BATCH = 1 << 16, 1 << 10
# The encodings of text that Arrow can decode to a dictionary; it raises an error at any other.
_WITH_DICTIONARY = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}


def parquet_frame(stream: BinaryIO, name: str, most: int) -> Any:
    """Return the table of a Parquet file as a data frame.

    Numbers take 8 bytes or their width each, which is known beforehand. Text is decoded to its dictionary and
    counted, batch by batch, before it is written out. Lists and structures, which are neither features nor
    targets, are not decoded: their type stands in place of each value.

    Args:
        stream: The file.
        name: Its path or URL, for messages.
        most: The value of data.max_bytes.

    Raises:
        ConfigError: If the decoded table is larger.
        ValueError: If there are too many columns, or two of a name; or from Arrow.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_footer(stream, name, most)
    file = pq.ParquetFile(stream)
    schema, footer = file.schema_arrow, file.metadata
    check_columns(schema.names)
    if (column := repeated(schema.names)) is not None:
        raise ValueError(f"two columns are called {column!r}")
    rows = sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
    size = rows * sum(_width(field.type) or VALUE_BYTES for field in schema)
    if size > most:
        holds = f"holds {rows:,} rows of {len(schema):,} columns, {size:,} bytes or more"
        raise too_large(name, holds, most)
    numbers = [field.name for field in schema if _width(field.type)]
    table = file.read(columns=numbers)
    columns = {column: table.column(column) for column in numbers}
    for field in (field for field in schema if _is_text(field.type)):
        parts = []
        for part in _batches(stream, file, field, most):
            size += _text_bytes(part)
            if size > most:
                raise too_large(name, f"holds {size:,} bytes or more when it is decoded", most)
            is_coded = pa.types.is_dictionary(field.type)
            # An array of the small types holds 2 GB at most.
            large = pa.large_string() if _is_characters(field.type) else pa.large_binary()
            parts.append(part if is_coded else part.cast(large))
        columns[field.name] = pa.chunked_array(parts, None if parts else field.type)
    table = pa.table({column: columns[column] for column in schema.names if column in columns})
    with warnings.catch_warnings():
        # Arrow makes blocks of pandas in a way that pandas 3 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        frame = table.replace_schema_metadata(schema.metadata).to_pandas()
    frame = frame if columns else pd.DataFrame(index=range(rows))
    for field in schema:
        if field.name not in columns:
            frame[field.name] = pd.Series([field.type] * rows, frame.index, dtype=object)
    return frame


def _check_footer(stream: BinaryIO, name: str, most: int) -> None:
    """Raise `ConfigError` for a footer whose description of the columns does not fit the bound."""
    stream.seek(0)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - 8, 0))
    footer = int.from_bytes(stream.read(4), "little")
    stream.seek(0)
    if _FOOTER * min(footer, size) > most:
        raise too_large(name, f"has a footer of {footer:,} bytes, which takes {_FOOTER} times as many", most)


def _width(kind: Any) -> int:
    """Return the number of bytes of a value of a fixed width, at least 8; 0 for other types."""
    import pyarrow as pa

    if pa.types.is_nested(kind) or _is_text(kind):
        return 0
    try:
        return max(VALUE_BYTES, kind.bit_width // 8)
    except ValueError:
        return VALUE_BYTES * pa.types.is_null(kind)


def _is_text(kind: Any) -> bool:
    """Return whether values are text or bytes of any length, which a file can hold in a dictionary."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return _is_characters(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _is_characters(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _batches(stream: BinaryIO, file: Any, field: Any, most: int) -> Iterator[Any]:
    """Yield a column of text as arrays, of a dictionary and the place of each value in it where Arrow can."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer, column, rows = file.metadata, field.name, _BATCH
    (place,) = (i for i in range(footer.num_columns) if footer.schema.column(i).path == column)
    chunks = [footer.row_group(i).column(place) for i in range(footer.num_row_groups)]
    if not all(_WITH_DICTIONARY.issuperset(chunk.encodings) for chunk in chunks):
        # A value may repeat the start of the one before it, so that each can be as long as its chunk.
        longest = max(chunk.total_uncompressed_size for chunk in chunks)
        rows = max(1, min(_SMALL_BATCH, most // max(4 * longest, 1)))
    elif not pa.types.is_dictionary(field.type):
        file = pq.ParquetFile(stream, metadata=footer, read_dictionary=[column])
    for batch in file.iter_batches(rows, columns=[column]):
        yield batch.column(column)


def _text_bytes(part: Any) -> int:
    """Return the number of bytes of the text of an array, or of that for which an array of places stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_coded = pa.types.is_dictionary(part.type)
    lengths = pc.binary_length(part.dictionary).take(part.indices) if is_coded else pc.binary_length(part)
    return pc.sum(lengths, min_count=0).as_py()
