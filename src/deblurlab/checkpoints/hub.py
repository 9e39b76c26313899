"""Releases on the model hub: `hf://owner/name[@revision]` is downloaded to the hub's cache, folders are uploaded."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from deblurlab.errors import UserError, printable
from deblurlab.runs.untrusted import is_inside

_SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_TOKEN = "`hf auth login`, or the environment variable HF_TOKEN"


def is_address(path: object) -> bool:
    """Return whether a path is an address on the hub."""
    return str(path).startswith(_SCHEME)


def download(address: str, files: Mapping[str, int]) -> Path:
    """Download files of one commit to the hub's cache and return their folder. Cached files aren't downloaded again.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@revision` with a branch, a tag or a commit.
        files: Names and maximum sizes in bytes.

    Raises:
        UserError: huggingface_hub isn't installed, the address or its files don't exist or need a token, a file is too
            large, or the hub can't be reached and the files aren't in the cache.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(f"{address} isn't an address on the hub: hf://owner/name, or hf://owner/name@revision")
    repository, revision = match["repository"], match["revision"]
    with _one_line(address):
        for name, limit in files.items():
            folder = _download(address, repository, name, revision, limit).parent
            revision = folder.name  # the commit: a branch may move between two files
    return folder


def _download(address: str, repository: str, name: str, revision: str | None, limit: int) -> Path:
    """Return the path of a file in the hub's cache, downloaded if the hub can be reached and has another version."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:
        found = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
        raise
    except Exception as error:  # errors of the HTTP client, whose package depends on the version of huggingface_hub
        try:
            return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
        except errors.LocalEntryNotFoundError:
            if _is_connection_error(error):
                raise UserError(f"{address} isn't in the cache, and {_unreachable(error)}") from error
            raise error from None
    if found.size is None or found.size > limit:
        raise UserError(
            f"{address} isn't a release of deblurlab: its {name} has {found.size} bytes, at most {limit} can be"
        )
    return Path(hf_hub_download(repository, name, revision=revision))


def is_cached(folder: Path, file: Path) -> bool:
    """Return whether a folder is in the hub's cache, and a file in it, too, or a link to another file of the cache."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return False
    return all(is_inside(path, Path(HF_HUB_CACHE)) for path in (folder, file))


def create_repository(repository: str) -> None:
    """Create a repository on the hub, unless it exists.

    Raises:
        UserError: huggingface_hub isn't installed, there is no token, or the hub refuses.
    """
    if not _ADDRESS.fullmatch(_SCHEME + repository) or "@" in repository:
        raise UserError(f"--push {repository} isn't the name of a repository on the hub: owner/name")
    with _one_line(f"--push {repository}"):
        from huggingface_hub import HfApi, get_token

        if get_token() is None:
            raise UserError(f"--push {repository} needs a token of the hub: {_TOKEN}")
        HfApi().create_repo(repository, exist_ok=True)


def upload(folder: Path, repository: str) -> str:
    """Upload the files of a folder in one commit to a repository's main branch, and return the commit's address.

    Raises:
        UserError: The hub refuses or can't be reached.
    """
    with _one_line(f"--push {repository}"):
        from huggingface_hub import HfApi

        info = HfApi().upload_folder(repo_id=repository, folder_path=folder, commit_message="Release of deblurlab")
        return info.commit_url


@contextmanager
def _one_line(subject: str) -> Iterator[None]:
    """Raise any error of huggingface_hub as a UserError of one line that begins with `subject`."""
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(f"{subject} needs huggingface_hub: pip install 'deblurlab[hub]'") from error
    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError as error:
        raise UserError(f"{subject} is gated: request access on its page, and give a token: {_TOKEN}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{subject} doesn't exist or is private: check the name, or give a token: {_TOKEN}") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{subject} doesn't exist: the repository has no such branch, tag or commit") from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{subject} isn't a release of deblurlab: it has no config.json or no weights") from error
    except errors.HfHubHTTPError as error:
        raise UserError(f"{subject} failed: {_refusal(error)}") from error
    except Exception as error:  # as in _download
        reason = _unreachable(error) if _is_connection_error(error) else _one_sentence(error)
        raise UserError(f"{subject} failed: {reason}") from error


def _is_connection_error(error: Exception) -> bool:
    """Return whether there was no answer, as opposed to one that refuses."""
    client = type(error).__module__.startswith(("httpx", "requests"))  # clients of the versions of huggingface_hub
    return client or isinstance(error, (ConnectionError, TimeoutError))


def _unreachable(error: Exception) -> str:
    return f"the hub can't be reached ({_one_sentence(error)}): check the connection, HF_ENDPOINT and HF_HUB_OFFLINE"


def _refusal(error: Any) -> str:
    """Return what the hub answered, and the remedy."""
    status, reason = error.response.status_code, printable(error.server_message or "no reason given")
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the hub refuses the token ({reason}): give a valid one: {_TOKEN}"
    if status == HTTPStatus.FORBIDDEN:
        return f"the hub refuses it ({reason}): check the owner's name and the rights of the token, from {_TOKEN}"
    return f"the hub answers with an error ({status}, {reason}): try again later"


def _one_sentence(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)
