# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources, long-tailed subsets, tables with anomalies, training batches."""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('data')

from imbsam_jax.data._anomaly_splits import adbench_split
from imbsam_jax.data._anomaly_splits import AnomalySplit
from imbsam_jax.data._anomaly_splits import deep_sad_split
from imbsam_jax.data._anomaly_splits import validation_table
from imbsam_jax.data._auxiliary import auxiliary_examples
from imbsam_jax.data._auxiliary import check_auxiliary
from imbsam_jax.data._auxiliary import fitted_examples
from imbsam_jax.data._auxiliary import TEXTURES
from imbsam_jax.data._batches import joint_batches
from imbsam_jax.data._batches import Layout
from imbsam_jax.data._batches import pair_halves
from imbsam_jax.data._batches import paired_batches
from imbsam_jax.data._batches import Reweighting
from imbsam_jax.data._batches import TrainBatch
from imbsam_jax.data._check import ArrayFacts
from imbsam_jax.data._check import check
from imbsam_jax.data._check import Copy
from imbsam_jax.data._check import DataFacts
from imbsam_jax.data._check import SplitFacts
from imbsam_jax.data._encoded_images import EncodedImages
from imbsam_jax.data._errors import DataError
from imbsam_jax.data._file_listing import list_folders
from imbsam_jax.data._file_listing import list_images
from imbsam_jax.data._file_listing import Listing
from imbsam_jax.data._file_listing import summarized
from imbsam_jax.data._file_report import FileReport
from imbsam_jax.data._file_split import test_rows
from imbsam_jax.data._fingerprint import Fingerprint
from imbsam_jax.data._fingerprint import fingerprint
from imbsam_jax.data._folder_content import FolderContent
from imbsam_jax.data._host_share import HostShare
from imbsam_jax.data._host_share import take_own
from imbsam_jax.data._host_share import WHOLE
from imbsam_jax.data._image_facts import FileFacts
from imbsam_jax.data._image_facts import ImageFacts
from imbsam_jax.data._image_facts import is_deep
from imbsam_jax.data._image_files import FolderSource
from imbsam_jax.data._image_files import ListSource
from imbsam_jax.data._image_files import SubsetSource
from imbsam_jax.data._image_reader import ImageReader
from imbsam_jax.data._long_tail import long_tail_class_counts
from imbsam_jax.data._long_tail import long_tail_indices
from imbsam_jax.data._npz_source import NpzSource
from imbsam_jax.data._odds import odds_table
from imbsam_jax.data._order import class_aware_order
from imbsam_jax.data._order import permuted_order
from imbsam_jax.data._order import RowChoice
from imbsam_jax.data._order import sampled_order
from imbsam_jax.data._order import shuffled_order
from imbsam_jax.data._order import stratified_order
from imbsam_jax.data._order import whole_order
from imbsam_jax.data._prefetch import prefetch
from imbsam_jax.data._random_crops import RandomCrops
from imbsam_jax.data._sources import ArraySource
from imbsam_jax.data._sources import Examples
from imbsam_jax.data._sources import Source
from imbsam_jax.data._sources import TfdsSource
from imbsam_jax.data._split_batches import choose_tail_sizes
from imbsam_jax.data._split_batches import one_tail_size
from imbsam_jax.data._split_batches import split_batches
from imbsam_jax.data._split_batches import split_sizes
from imbsam_jax.data._split_batches import stack_batches
from imbsam_jax.data._split_batches import tail_only_batches
from imbsam_jax.data._splits import check_same_rows
from imbsam_jax.data._splits import hold_out
from imbsam_jax.data._splits import long_tailed
from imbsam_jax.data._splits import LongTailedData
from imbsam_jax.data._standardize import Standardization
from imbsam_jax.data._standardize import standardization
from imbsam_jax.data._streams import Stream
from imbsam_jax.data._streams import with_streams
from imbsam_jax.data._table_files import Columns
from imbsam_jax.data._table_files import read_rows
from imbsam_jax.data._table_files import read_table
from imbsam_jax.data._table_files import Rows
from imbsam_jax.data._tables import make_table
from imbsam_jax.data._tables import Table
from imbsam_jax.data._textures import textures

__all__ = [
  'AnomalySplit',
  'ArrayFacts',
  'ArraySource',
  'Copy',
  'Columns',
  'DataError',
  'DataFacts',
  'EncodedImages',
  'Examples',
  'FileFacts',
  'FileReport',
  'Fingerprint',
  'FolderContent',
  'FolderSource',
  'HostShare',
  'ImageFacts',
  'ImageReader',
  'Layout',
  'Listing',
  'ListSource',
  'LongTailedData',
  'NpzSource',
  'RandomCrops',
  'Reweighting',
  'RowChoice',
  'Rows',
  'Source',
  'SplitFacts',
  'Stream',
  'Standardization',
  'SubsetSource',
  'TEXTURES',
  'Table',
  'TfdsSource',
  'TrainBatch',
  'WHOLE',
  'adbench_split',
  'auxiliary_examples',
  'check',
  'check_auxiliary',
  'check_same_rows',
  'choose_tail_sizes',
  'class_aware_order',
  'deep_sad_split',
  'fingerprint',
  'fitted_examples',
  'hold_out',
  'joint_batches',
  'is_deep',
  'list_folders',
  'list_images',
  'long_tail_class_counts',
  'long_tail_indices',
  'long_tailed',
  'make_table',
  'odds_table',
  'one_tail_size',
  'pair_halves',
  'paired_batches',
  'permuted_order',
  'prefetch',
  'read_rows',
  'read_table',
  'sampled_order',
  'shuffled_order',
  'split_batches',
  'split_sizes',
  'stack_batches',
  'standardization',
  'stratified_order',
  'tail_only_batches',
  'summarized',
  'take_own',
  'test_rows',
  'textures',
  'validation_table',
  'whole_order',
  'with_streams',
]
