# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`TrunkClassifier`, a head on a trunk that may be pre-trained."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _modes
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual
from imbsam_jax.models import _vision_transformer
from imbsam_jax.models import tuning as tuning_lib

_EXAMPLE = (
  'models.TrunkClassifier(num_classes=100, trunk=models.VisionTransformer(...))'
)


class TrunkClassifier(_classifier.Classifier):
  """A trunk, which gives features, and a head on them.

  Parameters: ``params['trunk']``, as the trunk has them by itself, and
  ``params['classifier']``. `trains` says of each whether it is trained.

  Attributes:
    num_classes: Number of classes.
    norm: Follows from the trunk: `'none'` for a Vision Transformer and with
      `freeze_statistics`, since then no row of a batch depends on another one,
      else that of the trunk.
    head: See `Classifier`.
    dtype: Follows from the trunk.
    trunk: `VisionTransformer`; a `Classifier`, whose features are taken and
      whose head is not used; or another module that gives float features
      ``[batch, dim]``, called as ``trunk(images, train=...)`` or
      ``trunk(images)``.
    tuning: How the trunk is tuned, see `models.tuning`. A Vision Transformer
      gets it, with what follows from the number of classes filled in, and may
      have been made with it. None trains all.
    feature_dropout: Share of the entries of the features that are set to 0 in
      training, where the others are divided by one minus it: 0.1 in GNM-PT.
      `apply` then needs ``rngs={'dropout': key}`` in training.
    freeze_statistics: Whether the trunk runs as in evaluation in training too:
      its BatchNorm keeps the statistics that were read with its parameters.
      Without, they move although no parameter does.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> trunk = models.VisionTransformer(
    ...   width=8, depth=2, num_heads=2, mlp_width=16, patch_size=4,
    ...   image_size=8,
    ... )
    >>> model = models.TrunkClassifier(
    ...   num_classes=5, trunk=trunk, tuning=models.tuning.VptDeep(prompts=3)
    ... )
    >>> images = jnp.ones([1, 8, 8, 3])
    >>> variables = model.init(jax.random.key(0), images, train=False)
    >>> model.apply(variables, images, train=False).shape
    (1, 5)
    >>> model.trains(('trunk', 'block0', 'prompts'))
    True
    >>> model.trains(('trunk', 'block0', 'mlp', 'fc1', 'kernel'))
    False
  """

  norm: Any = None
  trunk: nn.Module | None = None
  tuning: tuning_lib.Tuning | None = None
  feature_dropout: float = 0.0
  freeze_statistics: bool = False

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    if not isinstance(self.trunk, nn.Module):
      raise TypeError(
        '`trunk` must be a Linen module that gives features, got '
        f'{self.trunk!r}. Write {_EXAMPLE}.'
      )
    _checks.integer(
      'num_classes', self.num_classes, hint='Pass num_classes=100, for example.'
    )
    _checks.share('feature_dropout', self.feature_dropout, one=False)
    self._tune()
    self.norm = _norm_of(self.trunk, self.norm, self.freeze_statistics)
    self.dtype = getattr(self.trunk, 'dtype', self.dtype)
    super().__post_init__()

  def setup(self) -> None:
    """Makes the head."""
    super().setup()
    self.dropout = nn.Dropout(self.feature_dropout)

  @nn.nowrap
  def trains(self, path: tuple[str, ...]) -> bool:
    """Whether a parameter is trained.

    Args:
      path: Its names within the parameters, such as ``('trunk', 'block0',
        'norm1', 'bias')``.
    """
    if path[0] != 'trunk' or self.tuning is None:
      return True
    return self.tuning.trains(tuple(path[1:]), _parts(self.trunk))

  def branches(
    self,
    x: ArrayLike,
    *,
    train: bool,
    suffixes: Sequence[str] = ('',),
    own: _residual.Own = 'stage',
  ) -> tuple[jax.Array, ...]:
    """Features of the trunk.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether dropout draws, and batch normalization uses and updates
        batch statistics.
      suffixes: A single empty one.
      own: Not read.

    Returns:
      A float32 array, shape ``[batch, dim]``, in a tuple.

    Raises:
      TypeError: If `x` is not a float array.
      ValueError: If `x` is of a shape that the trunk refuses, or there is more
        than one branch.
    """
    del own
    if tuple(suffixes) != ('',):
      raise ValueError(
        'a trunk gives its features once: two branches would each need a last '
        "stage, and a file of weights has one. Build the trunk's network by "
        'itself instead, such as models.TwoBranches(network=models.ResNet50('
        'num_classes=100)).'
      )
    features = _features(
      self.trunk, x, train=train and not self.freeze_statistics
    )
    return (self.dropout(features, deterministic=not train),)

  @nn.nowrap
  def _tune(self) -> None:
    """Hands the tuning to the trunk, and refuses what that cannot be tuned by.

    Raises:
      TypeError: If the tuning is no description of `models.tuning`.
      ValueError: If the trunk is tuned otherwise, or cannot be tuned so.
    """
    trunk, tuning = self.trunk, self.tuning
    if tuning is not None and not isinstance(tuning, tuning_lib.Tuning):
      raise TypeError(
        '`tuning` must be a description from models.tuning, got '
        f'{tuning!r}. Pass tuning=models.tuning.Probe(), for example.'
      )
    if isinstance(trunk, _vision_transformer.VisionTransformer):
      if tuning is None:
        tuning = trunk.tuning
      elif trunk.tuning not in (None, tuning):
        raise ValueError(
          f'the trunk was made with tuning={trunk.tuning!r}, and is to be '
          f'tuned by {tuning!r}. Pass one of the two.'
        )
      if tuning is not None:
        tuning = tuning.resolved(
          num_classes=self.num_classes, depth=trunk.depth
        )
        if trunk.tuning is None:
          self.trunk = trunk.clone(tuning=tuning)
    self.tuning = tuning
    if tuning is not None:
      _check_fits(tuning, self.trunk)


def _check_fits(tuning: tuning_lib.Tuning, trunk: Any) -> None:
  parts = _parts(trunk)
  transformer = isinstance(trunk, _vision_transformer.VisionTransformer)
  fits = {'nothing': True, 'parts': bool(parts), 'blocks': transformer}
  if not fits[tuning.needs]:
    kind, has = type(trunk).__name__, 'Probe()'
    needed = 'blocks of a transformer'
    if tuning.needs == 'parts':
      needed = 'blocks or stages'
    if parts:
      has = 'BitFit(), tuning.Partial(blocks=1), tuning.Probe()'
    raise ValueError(
      f'{type(tuning).__name__} tunes {needed}, and {kind} has none. Use '
      f'tuning.{has} or tuning.Full().'
    )
  tuning.trains(('',), parts)  # Refuses more parts than there are.


def _parts(trunk: Any) -> tuple[str, ...]:
  """Names of the blocks of a transformer, of the stages of a residual network.

  From the images on; nothing for other networks.
  """
  if isinstance(trunk, _vision_transformer.VisionTransformer):
    return trunk.block_names
  stages = getattr(trunk, 'stage_sizes', ())
  return tuple(f'stage{i}' for i in range(1, len(stages) + 1))


def _norm_of(trunk: Any, norm: Any, frozen: bool) -> Any:
  """Under which normalization rows of a batch pass the trunk."""
  own = getattr(trunk, 'norm', 'none')
  if not isinstance(
    own, str
  ):  # A layer of that name, in a module of one's own.
    own = 'none'
  if norm not in (None, 'none', own):
    raise ValueError(
      f'`norm` follows from the trunk, which has {own!r}, got {norm!r}. Pass '
      f'norm={own!r}, or make the trunk with another one; that of tokens in a '
      'Vision Transformer is its own.'
    )
  if frozen and own in _normalization.BATCH_NORMS:
    return 'none'
  return own


def _features(trunk: Any, x: ArrayLike, *, train: bool) -> jax.Array:
  if isinstance(trunk, _classifier.Classifier):
    return trunk.features(x, train=train)
  options = {'train': train} if _modes.takes_train(trunk) else {}
  features = jnp.asarray(trunk(x, **options))
  if features.ndim != 2 or not jnp.issubdtype(features.dtype, jnp.floating):
    raise ValueError(
      'a trunk must give float features [batch, dim], got '
      f'{features.dtype} of shape {features.shape} from '
      f'{type(trunk).__name__}. Average over the axes of an image, for example.'
    )
  return features.astype(jnp.float32)
