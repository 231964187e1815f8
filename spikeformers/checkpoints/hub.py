"""The Hugging Face Hub: download a file, upload a folder."""

import re
from pathlib import Path


def is_repository(name: str) -> bool:
    """Whether a name has the form `owner/name` and is not a weight file."""
    return bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name)) and not name.endswith(
        (".safetensors", ".ckpt", ".pt", ".pth")
    )


def download(repo: str, file: str, revision: str | None = None) -> Path:
    """Downloads a file of a repository `owner/name` at a branch, tag or commit, or finds it in the Hub's cache.

    Raises FileNotFoundError, in one line, for a missing repository, revision or file, and without a network.
    """
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        why = "the Hub cannot be reached: check the network, or give a folder"
        raise FileNotFoundError(f"{repo} is not a local folder, and {why}") from error
    except errors.RepositoryNotFoundError as error:
        why = "not a repository you can read on the Hub: check the name, or log in with `hf auth login`"
        raise FileNotFoundError(f"{repo} is not a local folder, and {why}") from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no revision {revision!r}: give a branch, a tag or a commit") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no {file}: give a repository that `push_to_hub` wrote") from error
    except Exception as error:  # the HTTP library's errors change between versions
        raise FileNotFoundError(f"{repo} cannot be fetched from the Hub ({_first_line(error)}): try again") from error


def upload(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Uploads a folder to a repository `owner/name`, created if missing, and returns its URL.

    Raises ConnectionError, in one line, if the Hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    except Exception as error:  # the HTTP library's errors change between versions
        remedy = "check the network, and log in with `hf auth login` as a user with write access"
        raise ConnectionError(f"{repo} was not uploaded ({_first_line(error)}): {remedy}") from error
    return str(address)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
