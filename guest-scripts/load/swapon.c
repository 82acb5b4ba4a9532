// SPDX-License-Identifier: GPL-2.0-only
/*
 * swapon DEVICE [PRIORITY]
 * With a PRIORITY of 0 or more the area has it; any other leaves the choice to
 * the kernel. busybox's own swapon may be built without priorities.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>

int main(int argc, char **argv)
{
	int flags = 0, priority;
	char *end;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: swapon DEVICE [PRIORITY]\n");
		return 2;
	}
	if (argc == 3) {
		priority = strtol(argv[2], &end, 10);
		if (end != argv[2] && !*end && priority >= 0)
			flags = SWAP_FLAG_PREFER | (priority & SWAP_FLAG_PRIO_MASK);
	}
	if (swapon(argv[1], flags)) {
		fprintf(stderr, "swapon: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	return 0;
}
