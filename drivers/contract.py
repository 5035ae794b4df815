"""What a driver has to be before anything is asked of it."""

from __future__ import annotations

import inspect
from typing import Any

from drivers.base import Capabilities, Driver, Recovery, SimpleDriver, Spec
from runner.model.fields import NAME

_WAITING = ("fingerprint", "start", "wait", "recover", "signal", "stop", "destroy", "shell", "salvage", "clear")
_AT_ONCE = ("check", "sweep")
SIGNALS = frozenset({"pause", "start", "destroy"})


def made(given: Any, type_name: str) -> Driver[Any]:
    """The driver that `given`, a class, is for the task type of this name. Raises TypeError with what is wrong about it, and whatever
    its own code raises."""
    if not isinstance(given, type) or not issubclass(given, Driver):
        raise TypeError(f"{_called(given)} is no class that derives from drivers.base.Driver")
    missing = sorted(given.__abstractmethods__)
    if missing:
        raise TypeError(f"{given.__qualname__} does not define {', '.join(missing)}")
    _check_methods(given)
    _check_said(given, type_name)
    driver: Driver[Any] = given()
    if isinstance(driver, SimpleDriver) and not isinstance(getattr(driver, "_running", None), dict):
        raise TypeError(f"the __init__ of {given.__qualname__} does not call super().__init__()")
    _check_said(driver, type_name)  # an object may say something else than its class
    return driver


def _check_methods(driver: type[Driver[Any]]) -> None:
    names = (*_WAITING, "run") if issubclass(driver, SimpleDriver) else _WAITING
    for name in names:
        if not inspect.iscoroutinefunction(getattr(driver, name)):
            raise TypeError(f"{name} of {driver.__qualname__} has to be an `async def`")
    for name in _AT_ONCE:
        if not callable(getattr(driver, name)) or inspect.iscoroutinefunction(getattr(driver, name)):
            raise TypeError(f"{name} of {driver.__qualname__} has to be a `def` without `async`")


def _check_said(driver: Driver[Any] | type[Driver[Any]], type_name: str) -> None:
    called = getattr(driver, "type", None)
    if called != type_name:
        raise TypeError(
            f"its entry point is called {type_name!r} and its `type` is {called!r}; they have to be the same"
        )
    if not NAME.fullmatch(type_name):
        raise TypeError(
            f"{type_name!r} is no name for a task type: letters, digits, _ and - are, from a letter or _ on"
        )
    capabilities, recovery = _capabilities(driver)
    if type(capabilities) is not Capabilities or type(recovery) is not Recovery:
        raise TypeError("its `capabilities` are not of the type drivers.base.Capabilities")
    signals: Any = capabilities.signals
    if not (isinstance(signals, frozenset) and signals <= SIGNALS):
        raise TypeError(f"its `capabilities.signals` are not a frozenset of {', '.join(sorted(SIGNALS))}")
    model: Any = driver.spec_model
    if not isinstance(model, type) or not issubclass(model, Spec):
        raise TypeError(f"its `spec_model`, {_called(model)}, is no class that derives from drivers.base.Spec")
    model.model_rebuild()  # what it is annotated with may not be there, or be nothing that pydantic can check


def _capabilities(driver: Any) -> tuple[Any, Any]:
    """They, and what they say of recovery, whatever that is."""
    return driver.capabilities, getattr(driver.capabilities, "recovery", None)


def _called(given: Any) -> str:
    return getattr(given, "__qualname__", None) or f"an object of type {type(given).__qualname__}"
