"""Code of the user's own in settings files, `package.module:Name` or `path/file.py:Name`: loading it, its files, and
its errors in one line."""

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules import activation


def load_object(name: str) -> Any:
    """Imports `package.module:Name` or `path/file.py:Name`, which runs that module.

    Raises ValueError if there is no such file, module or name.
    """
    where, _, attribute = name.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (ImportError, FileNotFoundError) as error:
        raise ValueError(f"{name} cannot be loaded: {error}") from error
    except (ValueError, OSError):  # one line already, or the machine's
        raise
    except Exception as error:  # of the module's own code
        raise ValueError(f"{name} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not hasattr(module, attribute):
        names = {n.lower(): n for n in vars(module) if not n.startswith("_")}
        close = [names[found] for found in difflib.get_close_matches(attribute.lower(), names, n=3)]
        raise ValueError(f"{where} has no {attribute}" + (f": did you mean {', '.join(close)}?" if close else ""))
    return getattr(module, attribute)


def _load_file(path: Path) -> Any:
    path = path.resolve()
    main = sys.modules.get("__main__")
    if (script := getattr(main, "__file__", None)) and Path(script).resolve() == path:
        return main  # the running script: importing it would run it again
    key = f"file:{path}"  # one module per file, so that a class loaded twice is one class
    if key not in sys.modules:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        spec = importlib.util.spec_from_file_location(key, path)
        assert spec and spec.loader
        module = sys.modules[key] = importlib.util.module_from_spec(spec)
        try:
            with user_code_errors(path):
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
    return sys.modules[key]


def own_files(settings: Any) -> set[Path]:
    """The files of user-defined parts in a model's settings, such as `my_ideas.py:MyAttention`; a path is itself one.

    Of a part named `package.module:Name` it is known once the module is imported.
    """
    if isinstance(settings, Path):
        return {settings}
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list | tuple | set):
        return set().union(*map(own_files, settings))
    where, colon, name = settings.rpartition(":") if isinstance(settings, str) else ("", "", "")
    if not colon or not name.isidentifier() or is_activation(settings):
        return set()
    if where.endswith(".py"):
        return {Path(where)}
    file = getattr(sys.modules.get(where), "__file__", None)
    return {Path(file)} if file else set()


def is_activation(name: str) -> bool:
    """Whether a name is that of an activation of torch, a class that runs no code of strangers."""
    module, _, attribute = name.partition(":")
    part = vars(activation).get(attribute)
    ours = isinstance(part, type) and issubclass(part, nn.Module) and part.__module__ == activation.__name__
    return ours and module in ("torch.nn", activation.__name__)


@contextmanager
def user_code_errors(settings: Any) -> Iterator[None]:
    """Turns errors in user-defined parts into one-line ValueErrors that name the place.

    Where `settings`, those of `own_files`, name no such part, errors are ours and pass unchanged.
    """
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        if not (files := own_files(settings)):
            raise
        own = {path.resolve(): path for path in files}
        places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename:
            places.append((Path(error.filename), error.lineno))
        named = [f"{own[path]}, line {line}" for path, line in places if path in own]
        where = named[-1] if named else ", ".join(map(str, files))
        raise ValueError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
