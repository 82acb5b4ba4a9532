/* SPDX-License-Identifier: GPL-2.0-only */
/* Included ahead of xe_irq.c: what is no PCI device has no interrupt vectors to be counted. */
#ifndef _FAKE_SPY_IRQ_H_
#define _FAKE_SPY_IRQ_H_

#include <linux/pci.h>

static inline int fake_msix_vec_count(struct pci_dev *dev)
{
	return -EINVAL;
}

#define pci_msix_vec_count(dev) fake_msix_vec_count(dev)

#endif
