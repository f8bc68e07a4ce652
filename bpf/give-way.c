/* SPDX-License-Identifier: Apache-2.0 */
#include "give-way.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Of the time of all processors together, percent: idle less than the one it is busy, until it is more than the other. */
#define BUSY_BELOW 15
#define CALM_ABOVE 30
/* While the reader works it is also busy when somebody waits for a processor for more of the time than the one, percent, others use
 * more than the next, and less is idle than the last: who waits for an answer of somebody who waits is idle, too. */
#define CONTENDED_ABOVE 20
#define OTHERS_ABOVE 40
#define SPARE_BELOW 50
/* Ticks are coarse: a look at one tenth of a second says little. */
#define WEIGHT 0.4

struct look {
	unsigned long long idle, all;
	/* Ticks of our parent, who reads what we write. */
	unsigned long long reader;
	/* Microseconds in which somebody waited for a processor; where the kernel does not tell, in which the reader's first thread did. */
	unsigned long long contended;
	struct timespec when;
};

static FILE *open_of_reader(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", getppid(), name);
	return fopen(path, "r");
}

static unsigned long long reader_ticks(void)
{
	unsigned long long user = 0, system = 0;
	FILE *file = open_of_reader("stat");
	char text[1024], *at;
	size_t length;

	if (!file)
		return 0;
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = 0;
	/* Its name may hold anything. */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		return 0;
	return user + system;
}

static unsigned long long contended_us(void)
{
	unsigned long long total = 0, ran_ns, waited_ns;
	FILE *file = fopen("/proc/pressure/cpu", "r");

	if (file && fscanf(file, "some avg10=%*f avg60=%*f avg300=%*f total=%llu", &total) != 1)
		total = 0;
	if (file)
		fclose(file);
	if (total)
		return total;
	file = open_of_reader("schedstat");
	if (file && fscanf(file, "%llu %llu", &ran_ns, &waited_ns) == 2)
		total = waited_ns / 1000;
	if (file)
		fclose(file);
	return total;
}

static bool take_look(struct look *look)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
	FILE *file = fopen("/proc/stat", "r");
	bool known;

	if (!file)
		return false;
	known = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) == 8;
	fclose(file);
	if (!known)
		return false;
	*look = (struct look){.idle = idle + iowait, .all = user + nice + system + idle + iowait + irq + softirq + steal, .reader = reader_ticks(), .contended = contended_us()};
	clock_gettime(CLOCK_MONOTONIC, &look->when);
	return true;
}

static double percent(double part, double of)
{
	return of > 0 ? 100 * part / of : 0;
}

bool machine_busy(void)
{
	static double idle = 100, own, contended;
	static struct look before;
	static bool busy;
	struct look now;

	if (!take_look(&now))
		return busy;
	if (before.all && now.all > before.all) {
		double all = now.all - before.all, took_us = (now.when.tv_sec - before.when.tv_sec) * 1e6 + (now.when.tv_nsec - before.when.tv_nsec) / 1e3;
		idle += (percent(now.idle - before.idle, all) - idle) * WEIGHT;
		own += (percent(now.reader - before.reader, all) - own) * WEIGHT;
		contended += (percent(now.contended - before.contended, took_us) - contended) * WEIGHT;
		bool others = idle < SPARE_BELOW && contended > CONTENDED_ABOVE && 100 - idle - own > OTHERS_ABOVE;
		if (idle + own < BUSY_BELOW || others)
			busy = true;
		else if (idle + own > CALM_ABOVE)
			busy = false;
	}
	before = now;
	return busy;
}
