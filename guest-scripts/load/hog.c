// SPDX-License-Identifier: GPL-2.0-only
/*
 * An anonymous-memory hog: hog SIZE [HOLD] [seq|random|none] [verify] [lock] [keep]
 * SIZE is bytes with K, M or G, or a percentage of what MemAvailable says.
 * With "lock" its memory cannot go to swap: room has to be made by others.
 * Prints one line; offers itself first to the OOM killer. With "keep" it is there
 * to hold memory, and a process like any other to the OOM killer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static unsigned long long available(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

static unsigned long long size_of(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 0);

	switch (*end) {
	case '%':
		return available() / 100 * n;
	case 'G':
	case 'g':
		return n << 30;
	case 'M':
	case 'm':
		return n << 20;
	case 'K':
	case 'k':
		n <<= 10;
	}
	return n;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static unsigned long long mark(unsigned long long page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ULL;
}

static unsigned long long look(const char *at)
{
	unsigned long long n;

	memcpy(&n, at, sizeof(n));
	return n;
}

int main(int argc, char **argv)
{
	unsigned long long bytes, pages, i, at, wrong = 0;
	const char *touch = argc > 3 ? argv[3] : "seq";
	int hold = argc > 2 ? atoi(argv[2]) : 0;
	int verify = 0, lock = 0, keep = 0, arg;
	long page = sysconf(_SC_PAGESIZE);
	double t0 = now(), filled, until;
	unsigned int round = 0;
	char *mem;
	FILE *f;

	bytes = argc > 1 ? size_of(argv[1]) : 0;
	if (!bytes ||
	    (strcmp(touch, "seq") && strcmp(touch, "random") && strcmp(touch, "none"))) {
		fprintf(stderr, "usage: hog SIZE|PERCENT%% [HOLD] [seq|random|none] [verify] [lock] [keep]\n");
		return 2;
	}
	for (arg = 4; arg < argc; arg++) {
		verify |= !strcmp(argv[arg], "verify");
		lock |= !strcmp(argv[arg], "lock");
		keep |= !strcmp(argv[arg], "keep");
	}
	f = fopen("/proc/self/oom_score_adj", "w");
	if (f) {
		fputs(keep ? "0" : "1000", f);
		fclose(f);
	}
	pages = bytes / page;
	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		printf("hog: result=error reason=%s\n", strerror(errno));
		return 1;
	}
	madvise(mem, bytes, MADV_NOHUGEPAGE);
	if (lock && mlock2(mem, bytes, MLOCK_ONFAULT)) {
		printf("hog: result=error reason=%s\n", strerror(errno));
		return 1;
	}
	for (i = 0; i < pages; i++)
		*(unsigned long long *)(mem + i * page) = mark(i);
	filled = now();
	until = filled + hold;
	while (now() < until) {
		if (!strcmp(touch, "none")) {
			usleep(100000);
			continue;
		}
		for (i = 0; i < pages && (i & 1023 || now() < until); i++) {
			at = !strcmp(touch, "seq") ? i : mark(i + round) % pages;
			if (look(mem + at * page) != mark(at))
				wrong++;
		}
		round++;
		usleep(1000);
	}
	for (i = 0; verify && i < pages; i++)
		if (*(unsigned long long *)(mem + i * page) != mark(i))
			wrong++;
	printf("hog: result=%s bytes=%llu fill_s=%.3f hold_s=%d rounds=%u wrong=%llu\n",
	       wrong ? "corrupt" : "ok", bytes, filled - t0, hold, round, wrong);
	return wrong ? 1 : 0;
}
