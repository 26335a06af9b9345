# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps of a ResNet-32 in PyTorch, timed when the program beside it says so.

  python pytorch_step.py

`benchmark` starts it as another program, in an environment that has PyTorch and
nothing of this project. It writes a line with its version and
device, then answers each line on its input, ``{"method": "sgd", "norm":
"group", "mode": "eager", "steps": 3}``, with the seconds that these steps took.

A step is what a user of PyTorch writes: images stay on the device as bytes, a
batch of 128 is drawn, cropped at one random place and flipped, in channels-last
order. ImbSAM is taken as its released code takes it (masked losses of head and
tail with a backward pass of each at w, then one of the tail at w + e), which is
2.67 times the passes of SGD.
"""

import functools
import json
import sys
import time

import torch  # pyrefly: ignore[missing-import]
from torch import nn  # pyrefly: ignore[missing-import]
import torch._functorch.config  # pyrefly: ignore[missing-import]
from torch.nn import functional  # pyrefly: ignore[missing-import]

_BATCH_SIZE = 128
_NUM_CLASSES = 100
_NUM_IMAGES = 12_406
_RHO = 0.05


class Block(nn.Module):
  """Two convolutions and a shortcut that pads with zeros."""

  def __init__(self, inputs, width, stride, make_norm):
    super().__init__()
    self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
    self.norm1 = make_norm(width)
    self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
    self.norm2 = make_norm(width)
    self.added = (width - inputs) // 2
    self.stride = stride

  def forward(self, x):
    """The block's result, of the shape that its stride leaves."""
    y = functional.relu(self.norm1(self.conv1(x)))
    y = self.norm2(self.conv2(y))
    if self.stride > 1:
      padding = (0, 0, 0, 0, self.added, self.added)
      x = functional.pad(x[:, :, ::2, ::2], padding)
    return functional.relu(x + y)


class ResNet32(nn.Module):
  """Three stages of five blocks for images of 32x32."""

  def __init__(self, make_norm):
    super().__init__()
    blocks, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)], 16
    blocks += [make_norm(16), nn.ReLU()]
    for width in (16, 32, 64):
      for k in range(5):
        stride = 2 if k == 0 and width > 16 else 1
        blocks.append(Block(inputs, width, stride, make_norm))
        inputs = width
    self.blocks = nn.Sequential(*blocks)
    self.head = nn.Linear(64, _NUM_CLASSES)

  def forward(self, x):
    """Logits."""
    return self.head(self.blocks(x).mean((2, 3)))


class Images:
  """Images that stay on the device, and batches of them."""

  def __init__(self, device):
    self._random = torch.Generator(device).manual_seed(0)
    draw = functools.partial(
      torch.randint, 0, device=device, generator=self._random
    )
    self._images = draw(
      high=256, size=(_NUM_IMAGES, 3, 32, 32), dtype=torch.uint8
    )
    self._labels = draw(high=_NUM_CLASSES, size=(_NUM_IMAGES,))
    self._draw = draw

  def batch(self):
    """Cropped and flipped images, and their labels."""
    rows = self._draw(high=_NUM_IMAGES, size=(_BATCH_SIZE,))
    images = functional.pad(self._images[rows].float() / 128 - 1, (4,) * 4)
    down, right = torch.randint(0, 9, (2,)).tolist()
    images = images[:, :, down : down + 32, right : right + 32]
    flipped = self._draw(high=2, size=(_BATCH_SIZE, 1, 1, 1)) == 0
    images = torch.where(flipped, images.flip(3), images)
    layout = torch.channels_last
    return images.contiguous(memory_format=layout), self._labels[rows]


def make_step(method, norm, mode, device):
  """``step(images, labels)`` of SGD, SAM or ImbSAM."""
  make_norm = {
    'batch': nn.BatchNorm2d,
    'group': lambda width: nn.GroupNorm(min(16, width), width),
  }[norm]
  model = ResNet32(make_norm).to(device, memory_format=torch.channels_last)
  forward = torch.compile(model) if mode == 'compiled' else model
  params = list(model.parameters())
  optimizer = torch.optim.SGD(params, 0.01, momentum=0.9, weight_decay=2e-4)
  # As many rows as `_workload.Workload` has of tail classes, in the mean.
  is_tail = torch.arange(_NUM_CLASSES, device=device) >= 81

  def loss_of(images, labels, weights):
    losses = functional.cross_entropy(forward(images), labels, reduction='none')
    return (losses * weights).mean()

  @torch.no_grad()
  def climb(grads):
    norm = torch.norm(torch.stack(torch._foreach_norm(grads)))
    ascent = torch._foreach_mul(grads, _RHO / (norm + 1e-12))
    torch._foreach_add_(params, ascent)
    return ascent

  def sgd(images, labels):
    functional.cross_entropy(forward(images), labels).backward()

  def sam(images, labels):
    loss = functional.cross_entropy(forward(images), labels)
    ascent = climb(torch.autograd.grad(loss, params))
    functional.cross_entropy(forward(images), labels).backward()
    with torch.no_grad():
      torch._foreach_sub_(params, ascent)

  def imbsam(images, labels):
    tail = is_tail[labels].float()
    losses = functional.cross_entropy(forward(images), labels, reduction='none')
    head_grads = torch.autograd.grad(
      (losses * (1 - tail)).mean(), params, retain_graph=True
    )
    ascent = climb(torch.autograd.grad((losses * tail).mean(), params))
    loss_of(images, labels, tail).backward()
    with torch.no_grad():
      torch._foreach_sub_(params, ascent)
      torch._foreach_add_([p.grad for p in params], list(head_grads))

  backward = {'sgd': sgd, 'sam': sam, 'imbsam': imbsam}[method]

  def step(images, labels):
    optimizer.zero_grad()
    backward(images, labels)
    optimizer.step()

  return step


def main():
  """Answers until its input ends."""
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.backends.cudnn.benchmark = True
  # Two backward passes of one graph, as ImbSAM's released code takes them, do
  # not compile with it.
  torch._functorch.config.donated_buffer = False
  images = Images(device)
  # Compilers print, and the answers must stand alone.
  answers, sys.stdout = sys.stdout, sys.stderr

  def answer(**values):
    print(json.dumps(values), file=answers, flush=True)

  @functools.cache
  def warm_step(method, norm, mode):
    step = make_step(method, norm, mode, device)
    for _ in range(3):
      step(*images.batch())
    return step

  answer(torch=torch.__version__, device=device)
  for line in sys.stdin:
    asked = json.loads(line)
    step = warm_step(asked['method'], asked['norm'], asked['mode'])
    synchronize()
    begin = time.perf_counter()
    for _ in range(asked['steps']):
      step(*images.batch())
    synchronize()
    answer(seconds=time.perf_counter() - begin)


def synchronize():
  """Waits for the device."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()


if __name__ == '__main__':
  main()
