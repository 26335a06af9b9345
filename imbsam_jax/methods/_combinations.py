# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Words that stand for several, such as `ldam_drw`."""

from imbsam_jax.methods import _registry

_combination = _registry.combination

_combination('cb_focal', 'cb', 'focal', about='class-balanced focal')
_combination(
  'cb_sigmoid_focal',
  'cb',
  'sigmoid_focal',
  about='class-balanced focal of C sigmoids',
)
_combination('ldam_drw', 'ldam', 'drw', about='LDAM-DRW (NeurIPS 2019)')
_combination('ldam_drs', 'ldam', 'drs', about='LDAM-DRS (NeurIPS 2019)')
_combination('mm_drw', 'mm', 'drw', about='MM-DRW (ICIP 2021)')
_combination('mm_ldam_drw', 'mm_ldam', 'drw', about='MM-LDAM-DRW (ICIP 2021)')
_combination('gcl_drw', 'gcl', 'drw', about='GCL with DRW, as in GNM-PT')
_combination('remix_drw', 'remix', 'drw', about='Remix-DRW (ECCV-W 2020)')
_combination('cmo_drw', 'cmo', 'drw', about='CMO, CE-DRW (CVPR 2022)')
_combination(
  'ppl_cri',
  'cri',
  'ppw',
  'pps',
  'ppmix',
  about='PPL and CRI (arXiv 2205.12117)',
)
