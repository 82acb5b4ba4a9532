// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test without subtests, as IGT has them (igt_words.c has some): asked for them it says so by
 * its exit status, and its exit status is its result.
 */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 79 };

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list-subtests"))
		return INVALID;
	printf("IGT-Version: none (igt_plain) (Linux)\nSUCCESS (0.000s)\n");
	return SUCCESS;
}
