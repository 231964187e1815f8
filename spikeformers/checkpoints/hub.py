"""The Hugging Face Hub: a file of a repository there, and a folder that becomes one."""

import re
from pathlib import Path


def is_repository(name: str) -> bool:
    """Whether a name is spelt as `owner/name`, which no file of weights is."""
    return bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name)) and not name.endswith(
        (".safetensors", ".ckpt", ".pt", ".pth")
    )


def download(repo: str, file: str, revision: str | None = None) -> Path:
    """A file of a repository `owner/name`, at a branch, tag or commit: fetched, or found in the cache of earlier ones.

    Raises FileNotFoundError, in one line, where there is no such repository, revision or file, or no network.
    """
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        why = "the Hub cannot be reached: check the network, or give a folder"
        raise FileNotFoundError(f"{repo} is no folder here, and {why}") from error
    except errors.RepositoryNotFoundError as error:
        why = "no repository on the Hub that you may read: check the name, or log in by `hf auth login`"
        raise FileNotFoundError(f"{repo} is no folder here, and {why}") from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no revision {revision!r}: give a branch, a tag or a commit") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no {file}: it is not a model that `save_pretrained` wrote") from error
    except Exception as error:  # of other kinds with every version of the library under it
        raise FileNotFoundError(f"{repo} cannot be fetched from the Hub ({_first_line(error)}): try again") from error


def upload(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Makes a repository `owner/name` unless it is there, puts a folder's files into it, and returns its address.

    Raises ConnectionError, in one line, where the Hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    except Exception as error:  # of other kinds with every version of the library under it
        remedy = "check the network, and log in by `hf auth login` as one who may write there"
        raise ConnectionError(f"{repo} was not uploaded ({_first_line(error)}): {remedy}") from error
    return str(address)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
