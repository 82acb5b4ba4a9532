// SPDX-License-Identifier: GPL-2.0-only
/*
 * In place of vkms_configfs.c, for a kernel without configfs: the default device is all there is.
 */
#include "features.h"

#ifdef HARNESS_HAVE_CONFIGFS
#include "../vkms_configfs.h"

int vkms_configfs_register(void)
{
	return 0;
}

void vkms_configfs_unregister(void)
{
}
#endif
