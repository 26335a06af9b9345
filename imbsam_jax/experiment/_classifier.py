# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Classifier`: a trained run as a function of images."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _correction

_KINDS = (
  'an array of one example or of several, the path of an image file, a picture '
  'of Pillow, or a list of these'
)


class Candidate(NamedTuple):
  """One class of a `Prediction`.

  Attributes:
    name: Name of the class.
    class_index: Its number.
    probability: Its probability.
  """

  name: str
  class_index: int
  probability: float


class Prediction(NamedTuple):
  """What a classifier says of one image.

  Attributes:
    name: Name of the most probable class.
    class_index: Its number.
    probability: Its probability.
    top: The most probable classes, in order, that one first.
  """

  name: str
  class_index: int
  probability: float
  top: tuple[Candidate, ...]


class Programs(NamedTuple):
  """The jitted functions of a classifier, of a batch of rows.

  Attributes:
    rows: ``rows(images) -> rows``, from images as they are stored to what the
      others take; the features of a trunk where the network is a head alone.
    score: ``score(variables, rows, correction) -> (logits, probabilities)``;
      the correction is a `Correction` or None. It is None of an export of
      features, and gives probabilities twice for one of probabilities.
    features: ``features(variables, rows) -> (features, logits)``, or None.
    inputs: ``inputs(images)``, the input of the network; None of an export.
    trunk: Variables of a trunk that `rows` makes features with, or None.
    of_trunk: ``of_trunk(trunk, images) -> rows``, where there is such a trunk.
    exported: What an export gives, 'probabilities', 'logits' or 'features';
      None of a run, which gives all of them.
  """

  rows: Callable[[Any], Any]
  score: Callable[..., tuple[Any, Any]] | None
  features: Callable[..., tuple[Any, ...]] | None
  inputs: Callable[[Any], Any] | None
  trunk: Any = None
  of_trunk: Callable[..., Any] | None = None
  exported: str | None = None


class Begun(NamedTuple):
  """A batch on its way through the network.

  Attributes:
    num_rows: How many rows are not there to fill it up.
    outputs: What is to come, on the devices.
  """

  num_rows: int
  outputs: tuple[Any, ...]


# At a prompt it shows itself in a line, not all its arrays.
class Classifier:
  """A trained run as a function of images; `load_run` makes it.

  ``classifier(images)`` are the probabilities of the classes, float32
  ``[N, C]``, those of the run's evaluation: of the checkpoint that was chosen,
  with its preprocessing, scale of the logits, and views of an image. Images are
  arrays ``[N, ...]`` as the run stores them (bytes, or for bytes pixels in
  [0, 1]), one such array without the first axis, the path of an image file, a
  picture of Pillow, or a list of these.

  However many there are, they go through in batches of one size, so that one
  program is compiled for all calls. All calls raise a `data.DataError` for
  images that are not as the run takes them, and a `training.DivergedError`
  where the logits are not finite.

  Attributes:
    class_names: One name per class.
    class_counts: Training images of each class, int64 ``[C]``.
    config: The configuration of the run.
    step: Number of steps of the checkpoint.
    module: The network.
    variables: Its variables, as NumPy arrays.
    groups: 'many', 'medium' or 'few' for each class, by its training images.
    content: The content of ``model.json``.
    row_shape: Shape of an example, as the run stores it.
    batch_size: Images that go through the network together.
    correction: What is made of the logits of the network.
    programs: Its jitted functions.
    calibration: Name of the calibration: 'none', 'temperature', or a method.
  """

  def __init__(
    self,
    content: Mapping[str, Any],
    config: _config.Config,
    *,
    step: int,
    module: Any,
    variables: dict[str, Any],
    programs: Programs,
    reader: data_lib.ImageReader,
    batch_size: int,
    correction: _correction.Correction = _correction.NONE,
    calibration: str = 'none',
  ):
    self.content = content
    self.config = config
    self.class_names: tuple[str, ...] = tuple(content['class_names'])
    self.class_counts = np.asarray(content['class_counts'], np.int64)
    masks = metrics.class_groups(
      self.class_counts,
      many_above=content['many_above'],
      few_below=content['few_below'],
    )
    self.groups: tuple[str, ...] = tuple(
      next(name for name, mask in masks.items() if mask[c])
      for c in range(len(self.class_names))
    )
    self.step = step
    self.module = module
    self.variables = variables
    self.programs = programs
    self._reader = reader
    self.row_shape: tuple[int, ...] = reader.shape
    self._mesh = training.data_mesh()
    # The devices get as many rows each.
    self.batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
    self._on_devices = training.replicate(self._mesh, variables)
    self.correction = correction
    self.calibration = calibration
    # Without one the program is that of the evaluation, to the last bit.
    self._corrected: Any = (
      None if correction.is_none else training.replicate(self._mesh, correction)
    )

  def __repr__(self) -> str:
    name = self.content['model']['name']
    return (
      f'<Classifier {name}, {len(self.class_names)} classes, images '
      f'{list(self._reader.shape)}, step {self.step} of '
      f'{self.content["num_steps"]}>'
    )

  def __call__(self, images: Any) -> np.ndarray:
    """Probabilities of the classes, float32 ``[N, C]``.

    Args:
      images: See `Classifier`.
    """
    return self._scored(images)[1]

  def logits(self, images: Any) -> np.ndarray:
    """Logits of the classes, float32 ``[N, C]``.

    Without a correction these are the network's, before their scale; with one
    they are corrected, and probabilities are their softmax.

    Args:
      images: See `Classifier`.
    """
    return self.scores(images)[0]

  def scores(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and probabilities of the classes, float32 ``[N, C]`` each.

    What `logits` and the call itself give, in one pass.

    Args:
      images: See `Classifier`.

    Raises:
      ConfigError: If this is an export without logits.
    """
    if self.programs.exported == 'probabilities':
      raise self._not_in_export('logits')
    return self._scored(images)

  def _scored(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
    parts = [self.finish(self._begin(x)) for x in self._batches(images)]
    logits, probabilities = map(np.concatenate, zip(*parts, strict=True))
    return logits, probabilities

  def features(self, images: Any) -> np.ndarray:
    """What the head of the network reads, float32 ``[N, D]``.

    Args:
      images: See `Classifier`.

    Raises:
      ConfigError: If the network does not tell its features.
    """
    return np.concatenate(
      [
        _fetched(self._begin(x, scores=False, features=True))[0]
        for x in self._batches(images)
      ]
    )

  def preprocess(self, images: Any) -> np.ndarray:
    """The input of the network, float32 ``[N, ...]``.

    Args:
      images: See `Classifier`.

    Raises:
      ConfigError: If this is an export.
    """
    step = self.programs.inputs
    if step is None:
      raise _errors.ConfigError(
        'an export does not give the input of its network. Load the run.'
      )
    return np.concatenate(
      [
        _fetched(Begun(len(x), (step(self._filled(x)),)))[0]
        for x in self._batches(images)
      ]
    )

  def predict(self, images: Any, top: int = 5) -> list[Prediction]:
    """The most probable classes of each image.

    Args:
      images: See `Classifier`.
      top: How many of them; at most as many as there are classes.

    Raises:
      ConfigError: If `top` is below 1.
    """
    _checks.integer('top', top, error=_errors.ConfigError)
    return self.predictions(*self._scored(images), top=top)

  def predictions(
    self, logits: np.ndarray, probabilities: np.ndarray, *, top: int = 5
  ) -> list[Prediction]:
    """The most probable classes by what `scores` gave, of equal ones the first.

    Args:
      logits: Float array ``[N, C]``.
      probabilities: Float array ``[N, C]``.
      top: How many of them.
    """
    num_classes = logits.shape[-1]
    top = min(top, num_classes)
    least = np.partition(logits, num_classes - top, axis=-1)[:, -top]
    predictions = []
    for scores, bound, row in zip(logits, least, probabilities, strict=True):
      # All that are no less, of which there are more if some are equal.
      near = np.flatnonzero(scores >= bound)
      order = near[np.argsort(-scores[near], kind='stable')][:top]
      candidates = tuple(
        Candidate(self.class_names[c], int(c), float(row[c])) for c in order
      )
      predictions.append(Prediction(*candidates[0], candidates))
    return predictions

  def stored(self, image: Any) -> np.ndarray:
    """One image as the run stores it, a row of what all calls take.

    Args:
      image: The path of an image file, a picture of Pillow, or an array.
    """
    if isinstance(image, (str, os.PathLike)):
      return self._reader.from_file(image)
    if isinstance(image, Image.Image):
      return self._reader.from_picture(image)
    array = with_channel_axis(_as_array(image), self.row_shape)
    return self._reader.from_arrays(array[None])[0]

  def begin(
    self, rows: Sequence[np.ndarray], *, features: bool = False
  ) -> Begun:
    """Sends rows through the network; the devices work while more is read.

    Args:
      rows: Rows that `stored` gave, at most `batch_size` of them.
      features: Whether the features are wanted too.

    Raises:
      ConfigError: If they are, and the network does not tell them.
    """
    return self._begin(_stacked(rows), features=features)

  def _begin(
    self, rows: np.ndarray, *, scores: bool = True, features: bool = False
  ) -> Begun:
    score, step = self.programs.score, self.programs.features
    if scores and score is None:
      raise self._not_in_export('probabilities')
    if features and step is None:
      if self.programs.exported is not None:
        raise self._not_in_export('features')
      raise _errors.ConfigError(
        'this network does not tell its features. Derive it from '
        'models.Classifier.'
      )
    batch: Any = self.programs.rows(self._filled(rows))
    variables = self._on_devices
    outputs: tuple[Any, ...] = ()
    if scores and score is not None:
      outputs = score(variables, batch, self._corrected)
    if features and step is not None:
      outputs = (*outputs, step(variables, batch)[0])
    return Begun(len(rows), outputs)

  def _not_in_export(self, wanted: str) -> _errors.ConfigError:
    return _errors.ConfigError(
      f'this export gives {self.programs.exported}, and not {wanted}. Export '
      f'the run again with `outputs={wanted}`.'
    )

  def finish(self, begun: Begun) -> tuple[np.ndarray, ...]:
    """Logits, probabilities and what else `begin` was asked for, float32.

    Args:
      begun: What `begin` gave.

    Raises:
      DivergedError: If the logits are not finite.
    """
    outputs = _fetched(begun)
    counted = ~self.correction.excluded(len(self.class_names))
    if not np.isfinite(outputs[0][:, counted]).all():
      raise training.DivergedError(
        'the logits of the trained model are not finite. Pass another '
        'checkpoint, or lower the learning rate or the radius and train again.'
      )
    return outputs

  def _filled(self, rows: np.ndarray) -> Any:
    """Rows on the devices, with copies up to the size of a batch."""
    fill = self.batch_size - len(rows)
    # Copies, so that statistics of nothing else are computed.
    rows = np.concatenate([rows, np.repeat(rows[:1], fill, axis=0)])
    return training.shard_rows(self._mesh, rows)

  def _batches(self, images: Any) -> Iterator[np.ndarray]:
    """Rows as they are stored, at most a batch at a time."""
    size = self.batch_size
    if isinstance(images, (list, tuple)):
      if not images:
        raise data_lib.DataError(f'got an empty list; expected {_KINDS}.')
      for start in range(0, len(images), size):
        yield _stacked([self.stored(x) for x in images[start : start + size]])
      return
    if isinstance(images, (str, os.PathLike, Image.Image)):
      yield self.stored(images)[None]
      return
    array = _as_array(images)
    num_axes = len(self._reader.shape)
    array = with_channel_axis(array, self._reader.shape)
    if array.ndim == num_axes:
      array = array[None]
    if array.ndim != num_axes + 1:
      raise data_lib.DataError(
        f'expected an array {list(self._reader.shape)} or [N, '
        f'{str(list(self._reader.shape))[1:]}, got one of the shape '
        f'{array.shape}.'
      )
    if not len(array):
      raise data_lib.DataError(f'got no image, an array {array.shape}.')
    # As a whole: whether floats are in range, all of them tell.
    array = self._reader.from_arrays(array)
    for start in range(0, len(array), size):
      yield array[start : start + size]


def with_channel_axis(
  images: np.ndarray, row_shape: Sequence[int]
) -> np.ndarray:
  """Gray images ``[N, H, W]`` or ``[H, W]`` with an axis of channels.

  Args:
    images: Images of any shape, returned as they are if they are no such.
    row_shape: Shape of an image as the run stores it.
  """
  is_gray = len(row_shape) == 3 and row_shape[-1] == 1
  lacks_axis = images.ndim in (2, 3) and (
    images.shape[-2:] == tuple(row_shape[:2])
  )
  return images[..., None] if is_gray and lacks_axis else images


def _fetched(begun: Begun) -> tuple[np.ndarray, ...]:
  return tuple(
    np.asarray(x, np.float32)[: begun.num_rows]
    for x in jax.device_get(begun.outputs)
  )


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
  if len({row.dtype for row in rows}) > 1:  # Bytes, and what were floats.
    rows = [row.astype(np.float32) for row in rows]
  return np.stack(rows)


def _as_array(images: Any) -> np.ndarray:
  if isinstance(images, (np.ndarray, jax.Array)):
    return np.asarray(images)
  raise data_lib.DataError(f'expected {_KINDS}, got {type(images).__name__}.')
