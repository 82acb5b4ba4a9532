// SPDX-License-Identifier: GPL-2.0-only
/* Included at the end of xe_device.c, to which the drm_driver is private. */

#include "fake/fake.h"

const struct drm_driver *fake_driver(void)
{
#ifdef FAKE_REGULAR_DRIVER
	return &regular_driver;
#else
	return &driver;
#endif
}
