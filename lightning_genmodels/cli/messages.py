"""jsonargparse's reports, which list every type that a value might have had, shortened to one sentence."""

import ast
import importlib
import inspect
import re
from difflib import get_close_matches

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch import loggers as lightning_loggers

import datamodules
import lightning_genmodels
from lightning_genmodels import callbacks

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as [a,b]",
    "tuple": "a list, as [a,b]",
    "dict": "a mapping",
}
CLASSES: dict[str, dict[str, type]] = {
    "model": {n: c for n, c in vars(lightning_genmodels).items()
              if isinstance(c, type) and issubclass(c, LightningModule)},
    "data": {n: c for n, c in vars(datamodules).items()
             if isinstance(c, type) and issubclass(c, LightningDataModule)},
}  # fmt: skip
# Which are too many to be listed.
TRAINER_CLASSES: dict[str, dict[str, type]] = {
    "trainer.callbacks": {n: getattr(m, n) for m in (lightning_callbacks, callbacks) for n in m.__all__},
    "trainer.logger": {n: getattr(lightning_loggers, n) for n in lightning_loggers.__all__},
}
KNOWN = CLASSES | TRAINER_CLASSES
TOP_LEVEL = ("config", "model", "data", "trainer", "resume", "init_from", "ckpt_path", "seed_everything",
             "checkpoint", "pictures", "table")  # fmt: skip

MISSING = r"required: (?:\w+\.)?(\w+)$|(?:Key|Option) [\"'](?:\w+\.)?(\w+)[\"'] is required"


def shorten(message: str) -> str:
    """One sentence with the option, its value and what was expected, from a report of jsonargparse's parser."""
    keys = list(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))
    option = "--" + ".".join(keys[:2])
    if unknown := re.search(r"(?:Option|[Kk]ey) '([^']+)' is not (?:accepted|expected)", message):
        option = option if option.endswith(f".{unknown[1]}") else f"{option}.{unknown[1]}"
        return f"{option}: {_unknown(unknown[1], keys[0], message)}."
    if unknown := re.search(r"[Uu]nrecognized arguments: (.*)", message):
        word = unknown[1].split()[0].split("=")[0]
        group = word.lstrip("-").split(".")[0]
        known = [f"--{name}" for name in TOP_LEVEL]
        bare = word.lstrip("-")
        owners = [
            f"--{kind}.{bare}"
            for kind in CLASSES
            if any(bare in inspect.signature(c).parameters for c in CLASSES[kind].values())
        ]
        if owners:
            return f"{word}: no such option; did you mean {' or '.join(owners)}."
        return f"{word}: no such option{_suggest(word if group not in TOP_LEVEL else '', known)}."
    if unknown := re.search(r"does not accept (?:nested )?(?:option|key) '([^']+)'", message):
        return f"{unknown[1]}: no such option in the configuration{_suggest(unknown[1].split('.')[0], TOP_LEVEL)}."
    if several := re.search(r"required: (.*, .*)$", message, re.MULTILINE):
        names = [name.rpartition(".")[2] for name in several[1].split(", ")]
        wanted = "the name of a class each, or a configuration with them" if {*names} <= {*CLASSES} else "values"
        return f"{' and '.join('--' + '.'.join([*keys[:1], name]) for name in names)} are missing; expected {wanted}."
    if missing := re.search(MISSING, message, re.MULTILINE):
        name = missing[1] or missing[2]
        classes = ", ".join(CLASSES.get(name, {}))
        return f"--{'.'.join([*keys[:1], name])} is missing; expected {'one of ' + classes if classes else 'a value'}."
    if keys:
        value = _class_name(message) or _value(message)
        if keys[0] in TRAINER_CLASSES and "instantiatable" in message:  # or an option of none
            return f"{option} is {value}; expected {_expected_class(keys[0])}, and its own options after it."
        if keys[0] in KNOWN:
            for path in (value, *re.findall(r"given class_path '([\w.]+)'", message)):
                if lack := _lack(path):
                    return f"{option} is {path}, but {lack}; expected {_expected_class(keys[0])}."
        return f"{option} is {value}; expected {_expected(message, keys[0])}{_suggest_class(value, keys[0])}."
    return " ".join(message.split()).rstrip(".") + "."


def _unknown(word: str, group: str, message: str) -> str:
    paths = re.findall(r"given class_path '(?:[\w.]+\.)?(\w+)'", message)
    if paths and paths[0] in ("LightningModule", "LightningDataModule"):
        return f"nothing says before it whose option that is; expected --{group} CLASS first"
    classes = KNOWN.get(group, {})
    if not paths or paths[0] not in classes:  # a class of the user's
        every = [name for found in classes.values() for name in inspect.signature(found).parameters]
        return f"no such option{_suggest(word, [name for name in every if name != word])}"
    return f"no such option of {paths[0]}{_suggest(word, [*inspect.signature(classes[paths[0]]).parameters])}"


def _suggest(word: str, known: list[str] | tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}" if close else ""


def _class_name(message: str) -> str:
    """What was taken for a class and is none, also within a list."""
    named = re.search(r"Expected a dot import path string: (\S+)", message)
    return named[1] if named else ""


def _lack(path: str) -> str:
    """What an import path lacks. A module that fails while it is imported raises its own error, with its traceback."""
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        return ""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        return f"Python finds no module {error.name}"
    return "" if hasattr(found, name) else f"{module} has no {name}"


def _suggest_class(value: str, group: str) -> str:
    return _suggest(value, [*TRAINER_CLASSES.get(group, {})])


def _value(message: str) -> str:
    value = re.findall(r"Got value: (.*)|Given value: (.*)", message)[0]
    text: str = value[0] or value[1]
    if nested := re.match(r"NestedArg\(key='.*?', val=(.*)\)$", text):
        text = nested[1]
    return text.strip("'")


def _expected_class(group: str) -> str:
    names = ", ".join(CLASSES.get(group, {}))
    return (
        f"one of {names}, or the import path of your own" if names else "the name of a class, as package.module.Class"
    )


def _expected(message: str, group: str) -> str:
    if "dot import path" in message or "not accessible or invalid" in message:
        return _expected_class(group)
    accepted: list[str] = []
    for item in re.findall(r"Expected an? (.*?)(?:\. Got value|$)", message, re.MULTILINE):
        if choices := re.match(r"typing\.Literal(\[.*\])", item):
            accepted += [str(choice) for choice in ast.literal_eval(choices[1])]
        elif found := re.match(r"<class '([\w.]+)'>", item):
            if found[1] != "NoneType":
                accepted.append(TYPES.get(found[1], found[1]))
        else:
            accepted.append(f"a {item}")
    return " or ".join(dict.fromkeys(accepted)) or "another value"
