"""The data folder: kept from others, and the secret that it keeps."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from project.knobs import BadSetting

DATABASE = "tickwire.sqlite3"


def make_folder(path: Path) -> None:
    """Create it where it is missing, readable by its owner only.

    Raises:
        BadSetting: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadSetting(f"TICKWIRE_DATA_DIR: {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise BadSetting(f"TICKWIRE_DATA_DIR: {path}: not writable")


def keep_private(path: Path) -> None:
    """Make a file before others write it: in whatever folder, it and what SQLite puts beside it are readable by their owner only.

    One that exists stays as its owner wants it.

    Raises:
        BadSetting: it cannot be made.
    """
    if path.exists():
        return
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise BadSetting(f"TICKWIRE_DATA_DIR: {path}: {error.strerror}") from None


def refuse_foreign(path: Path) -> None:
    """The temporary folder is everybody's: whoever made the socket's folder first could read and answer for us.

    Raises:
        BadSetting: somebody did.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BadSetting(f"TICKWIRE_DATA_DIR: too long for a socket, and its substitute {path} is open to others; remove that")


def kept_secret(path: Path) -> str:
    """The secret in that file; made when it is missing.

    Raises:
        BadSetting: it cannot be kept there.
    """
    try:
        return _read_or_make(path)
    except OSError as error:
        raise BadSetting(f"TICKWIRE_SECRET_KEY: is empty, and none can be kept in {path}: {error.strerror}") from None


def _read_or_make(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_urlsafe(50))
        with suppress(FileExistsError):
            os.link(draft, path)  # the first process wins, whoever else is starting
    finally:
        draft.unlink()
    return path.read_text()
