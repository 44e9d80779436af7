"""The model that serves now, and the watch that replaces it when the registry's alias moves."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from readmission.errors import BadInputError, ServiceDownError
from readmission.mlflow_rest import MlflowRest, ModelVersion
from readmission.serving.inference.model_cache import ModelCache
from readmission.serving.inference.scorer import Scorer, load_scorer

LOOKUP_SECONDS = 30.0
FETCH_SECONDS = 600.0
"""Longest that a lookup and a download may take in all; a slower MLflow counts as down."""

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class ModelStore:
    """Holds the current scorer. A request takes ``current`` once and finishes on it, whatever happens meanwhile.

    Args:
        name: registered model.
        registry: where new versions come from.
        cache: where versions that served are kept.
        poll_seconds: pause between two looks at the alias.
        on_change: called with every scorer that becomes current.

    Attributes:
        current: the scorer that serves, None before the first.
    """

    def __init__(
        self,
        name: str,
        registry: MlflowRest,
        cache: ModelCache,
        poll_seconds: float,
        on_change: Callable[[Scorer], None],
    ) -> None:
        self.current: Scorer | None = None
        self._name = name
        self._registry = registry
        self._cache = cache
        self._poll_seconds = poll_seconds
        self._on_change = on_change
        self._serving: ModelVersion | None = None
        self._refused: ModelVersion | None = None
        self._trouble = ""

    def load_last_good(self) -> None:
        """Load the newest version on disk that passes its self-test; nothing else needs to be up."""
        for version in self._cache.versions():
            folder = self._cache.find(version)
            if version.name != self._name or folder is None:
                continue
            try:
                self._swap(load_scorer(folder, version.version), version)
            except BadInputError as error:
                _log.warning("%s (on disk)", error)
            else:
                return

    def load_production(self) -> Scorer:
        """Load the version in production now, for a program that scores once; else the last good one on disk.

        Raises:
            BadInputError: no version is in production, or it cannot be loaded.
            ServiceDownError: MLflow does not answer, and no version is on disk.
        """
        self.load_last_good()
        try:
            version = self._registry.production_version(self._name)
            if version is not None and version != self._serving:
                self._swap(self._fetch(version), version)
        except ServiceDownError as error:
            if self.current is None:
                raise
            _log.warning("%s; the last version on disk is used", error)
        if self.current is None:
            raise BadInputError(f"No version of {self._name} is in production: run `readmission pipeline run` first")
        return self.current

    async def watch(self) -> None:
        """Look at the alias until cancelled; whatever MLflow does, the current model serves on."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._poll_seconds)

    async def refresh(self) -> None:
        """Look at the alias once, and load the version that it names if it is another one."""
        try:
            version = await self._bounded(LOOKUP_SECONDS, self._registry.production_version, self._name)
            if version is not None:
                await self._follow(version)
            self._calm()
        except (ServiceDownError, OSError) as error:
            self._complain(str(error))

    def stop(self) -> None:
        """End a call to MLflow that is under way, so that the process can end."""
        self._registry.close()

    async def _follow(self, version: ModelVersion) -> None:
        if version == self._refused:
            return
        self._refused = None
        if version == self._serving:
            return
        try:
            self._swap(await self._bounded(FETCH_SECONDS, self._fetch, version), version)
        except BadInputError as error:
            self._refused = version
            _log.error("%s; it is refused until the alias moves", error)

    def _fetch(self, version: ModelVersion) -> Scorer:
        scorer = self._load_kept(version) or self._download(version)
        try:
            self._cache.set_newest(version)
        except OSError as error:
            _log.warning("Model version %s serves but cannot be kept on disk: %s", version.version, error.strerror)
        return scorer

    def _load_kept(self, version: ModelVersion) -> Scorer | None:
        folder = self._cache.find(version)
        if folder is not None:
            with suppress(BadInputError):  # damaged since: fetch it again
                return load_scorer(folder, version.version)
        return None

    def _download(self, version: ModelVersion) -> Scorer:
        with self._cache.workspace() as folder:
            self._registry.download_bundle(version, folder)
            scorer = load_scorer(folder, version.version)
            try:
                self._cache.put(folder, version)
            except OSError as error:
                _log.warning("Model version %s was not put in place: %s", version.version, error.strerror)
        return scorer

    def _swap(self, scorer: Scorer, version: ModelVersion) -> None:
        self.current, self._serving = scorer, version
        self._on_change(scorer)
        _log.info("Model version %s of %s serves", version.version, version.name)

    async def _bounded(self, seconds: float, call: Callable[..., _Result], *arguments: object) -> _Result:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(call, *arguments)
        except TimeoutError:
            self._registry.abort()
            raise ServiceDownError(f"MLflow at {self._registry.address} does not answer in time") from None

    def _complain(self, trouble: str) -> None:
        if not self._trouble:
            _log.warning("%s; the current model serves on", trouble)
        self._trouble = trouble

    def _calm(self) -> None:
        if self._trouble:
            _log.info("MLflow at %s answers again", self._registry.address)
        self._trouble = ""
