// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel memory that nobody can take back: pipes SIZE [HOLD] [ORDER [LEFT]]
 * Opens pipes until Slab of /proc/meminfo has grown by SIZE, or somebody was
 * killed for lack of memory; keeps them for HOLD seconds and prints one line.
 * ORDER is that of the allocation which each pipe makes of its own (0 unless
 * given, 3 at most): from 2 on the pages are taken in a row, without a slab.
 * With LEFT so many bytes are left free in single pages, each between two that
 * are taken: an order fails then while whoever needs one page has it.
 * To the OOM killer it is a process like any other, whatever its parent is:
 * what it holds can be had again by killing it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST_PIPES 500000	/* two descriptors each: fs.nr_open is 1048576 */
#define LOOK 64			/* pipes between two looks */
#define PAGE 4096
#define PAGES 16		/* that an ordinary pipe takes in */
#define MOST_PAIRS 4096

/* Size of a pipe whose array of buffers, of 40 bytes each, has that order. */
static const int size_of_order[] = { 0, 128 << 12, 256 << 12, 512 << 12 };

/* The number in the line of a file that begins with that; -1 without it. */
static long long number_of(const char *path, const char *begins)
{
	size_t length = strlen(begins);
	long long number = -1;
	char line[128];
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, begins, length)) {
			number = atoll(line + length);
			break;
		}
	fclose(f);
	return number;
}

static long long slab(void)
{
	long long kib = number_of("/proc/meminfo", "Slab:");

	return kib < 0 ? -1 : kib << 10;
}

static long long kills(void)
{
	return number_of("/proc/vmstat", "oom_kill ");
}

static long long free_bytes(void)
{
	return number_of("/proc/meminfo", "MemFree:") << 10;
}

/* With that free nobody is asked to make room: the high watermark is 1.5 times the least. */
static long long reserve(void)
{
	return 2 * number_of("/proc/sys/vm/min_free_kbytes", "") << 10;
}

static void be_ordinary(void)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "w");

	if (f) {
		fputs("0", f);
		fclose(f);
	}
}

static int one_more(int order)
{
	int ends[2];

	if (pipe(ends))
		return -1;
	if (!order || fcntl(ends[0], F_SETPIPE_SZ, size_of_order[order]) >= 0)
		return 0;
	close(ends[0]);
	close(ends[1]);
	return -1;
}

/*
 * Takes twice that of what is free in single pages, in turn for pipes that stay
 * and for pipes that go, and lets these go: pages of pipes cannot be moved.
 */
static void comb(long long left)
{
	static int stay[MOST_PAIRS][2], go[MOST_PAIRS][2];
	static const char page[PAGE];
	int pairs = left / (PAGES * PAGE), made, i, n;

	if (pairs > MOST_PAIRS)
		pairs = MOST_PAIRS;
	for (made = 0; made < pairs; made++)
		if (pipe2(stay[made], O_NONBLOCK) || pipe2(go[made], O_NONBLOCK))
			break;
	for (i = 0; i < made && free_bytes() > reserve(); i++)
		for (n = 0; n < PAGES; n++)
			if (write(stay[i][1], page, PAGE) < 0 || write(go[i][1], page, PAGE) < 0)
				break;
	for (i = 0; i < made; i++) {
		close(go[i][0]);
		close(go[i][1]);
	}
}

int main(int argc, char **argv)
{
	const int most_files = 2 * MOST_PIPES + 4 * MOST_PAIRS + 16;
	struct rlimit most = { most_files, most_files };
	long long size = argc > 1 ? atoll(argv[1]) : 0, before, now, killed;
	int order = argc > 3 ? atoi(argv[3]) : 0;
	long long left = argc > 4 ? atoll(argv[4]) : 0;
	const char *result = "ok";
	int count = 0;

	if (size <= 0 || order < 0 || order > 3) {
		fprintf(stderr, "usage: pipes BYTES [HOLD] [ORDER [LEFT]]\n");
		return 2;
	}
	be_ordinary();
	killed = kills();
	before = slab();
	now = before;
	if (before < 0 || setrlimit(RLIMIT_NOFILE, &most)) {
		printf("pipes: result=error reason=%s\n", strerror(errno));
		return 1;
	}
	while (now - before < size) {
		if (count == MOST_PIPES || one_more(order)) {
			result = count == MOST_PIPES ? "most" : strerror(errno);
			break;
		}
		if (++count % LOOK)
			continue;
		if (left > 0 && free_bytes() < 2 * left + 2 * reserve()) {
			comb(left);
			left = 0;
		}
		now = slab();
		if (kills() > killed) {
			result = "killed";
			break;
		}
	}
	printf("pipes: result=%s pipes=%d bytes=%lld\n", result, count, slab() - before);
	fflush(stdout);
	sleep(argc > 2 ? atoi(argv[2]) : 0);
	return strcmp(result, "ok") != 0;
}
