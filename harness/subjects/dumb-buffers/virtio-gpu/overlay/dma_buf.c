// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own virtio_dma_buf.c, for one that was configured without it.
 */
#include "virtio_dma_buf.c"
