"""Files from the Hugging Face hub, through its own cache; respects `HF_HOME` and `HF_HUB_OFFLINE`.

The hub gives the SHA-256 of a file of weights without a download. So a run has its key before a
large download, and the same file from the hub or from a folder is the same choice.
"""

import json
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from birds.core.errors import UserError, nearest
from birds.core.files import PREFIX, fetch_later, identity_of, remember_origin
from birds.core.home import install
from birds.encoders._weights import IN_FOLDERS


def hub_weights(repository: str, origin: dict[str, str]) -> str:
    """The identity of a model's weights, `sha256:<hex>`; the file is downloaded when it is needed.

    Args:
        repository: the model on the hub, such as `google/vit-base-patch16-224`.
        origin: what is already known about it; its revision is added.

    Raises UserError, with advice, if neither the cache nor the hub has them.
    """
    for name in IN_FOLDERS:
        cached = _cached(repository, name)
        if cached is not None:
            identity = identity_of(cached)
            remember_origin(identity, {**origin, "revision": _revision_of(cached)})
            return identity
    hub = _library()
    for name in IN_FOLDERS:
        try:
            told = hub.get_hf_file_metadata(hub.hf_hub_url(repository, name))
        except hub.errors.EntryNotFoundError:
            continue
        except Exception as error:
            raise _refusal(repository, name, error) from None
        fetch = partial(_fetched, repository, name, told.commit_hash)
        if not re.fullmatch("[0-9a-f]{64}", told.etag or ""):  # a small file without SHA-256
            identity = identity_of(fetch())
        else:
            identity = PREFIX + told.etag
            fetch_later(identity, fetch)
        remember_origin(identity, {**origin, "revision": str(told.commit_hash)})
        return identity
    raise UserError(
        f"encoder.weights=pretrained: {repository} has none of {', '.join(IN_FOLDERS)} on the hub; "
        "choose another model, or encoder.weights=FILE"
    )


@lru_cache(maxsize=64)
def hub_text(repository: str, name: str) -> str | None:
    """A small text file of a model, fetched into the hub's cache; None if there is no such file.

    Raises UserError, with advice, if neither the cache nor the hub knows the model.
    """
    cached = _cached(repository, name)
    if cached is not None:
        return cached.read_text()
    hub = _library()
    try:
        return _fetched(repository, name, None).read_text()
    except UserError:
        if _cached(repository, "config.json") is not None:  # cached without this file
            return None
        raise
    except hub.errors.EntryNotFoundError:
        return None


def hub_json(repository: str, name: str) -> dict[str, Any] | None:
    """A JSON file of a model, parsed; None if there is no such file. Raises as `hub_text` does."""
    text = hub_text(repository, name)
    return None if text is None else dict(json.loads(text))


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise UserError(
            f"a model of the hub needs the package huggingface-hub: {install('encoders')}"
        ) from None
    return huggingface_hub


def _cached(repository: str, name: str) -> Path | None:
    hub = _library()
    try:
        found = hub.try_to_load_from_cache(repository, name)
    except hub.errors.HFValidationError as error:
        raise _refusal(repository, name, error) from None
    return Path(found) if isinstance(found, str) else None


def _revision_of(cached: Path) -> str:
    """The commit that a file in the hub's cache belongs to: `snapshots/COMMIT/NAME`."""
    return cached.parent.name if cached.parent.parent.name == "snapshots" else "unknown"


def _fetched(repository: str, name: str, revision: str | None) -> Path:
    hub = _library()
    try:
        return Path(hub.hf_hub_download(repository, name, revision=revision))
    except hub.errors.LocalEntryNotFoundError as error:
        raise _refusal(repository, name, error) from None
    except hub.errors.EntryNotFoundError:
        raise
    except Exception as error:
        raise _refusal(repository, name, error) from None


def _refusal(repository: str, name: str, error: Exception) -> UserError:
    hub = _library()
    errors = hub.errors
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"{repository} is gated: ask for access at {hub.constants.ENDPOINT}/{repository}, then "
            "run hf auth login and ask again"
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return UserError(f"the hub has no model {repository}{nearest(repository, _known(hub))}")
    return UserError(
        f"{name} of {repository} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}) and "
        f"could not be fetched ({type(error).__name__}). Where there is a network, run: hf "
        f"download {repository}; then copy that cache here, or the files into a folder and choose "
        "encoder.weights=FOLDER (and for encoder=hf, encoder.model=FOLDER)"
    )


def _known(hub: Any) -> list[str]:
    """The names of the models in the hub's cache."""
    folders = Path(hub.constants.HF_HUB_CACHE).glob("models--*")
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
