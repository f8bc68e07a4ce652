/* SPDX-License-Identifier: Apache-2.0 */
#include "give-way.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the time of all processors together, percent: idle less than the one it is busy, until it is more than the other. */
#define BUSY_BELOW 15
#define CALM_ABOVE 30
/* Of the time that the reader wanted a processor it waited for one for more than this, percent: others want them, too. */
#define COMPETES_ABOVE 20
/* Ticks are coarse: a look at one tenth of a second says little. */
#define WEIGHT 0.4

struct look {
	unsigned long long idle, all;
	/* Of our parent, who reads what we write: ticks of all its threads; nanoseconds of its first one. */
	unsigned long long reader, reader_ran_ns, reader_waited_ns;
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
	*look = (struct look){.idle = idle + iowait, .all = user + nice + system + idle + iowait + irq + softirq + steal, .reader = reader_ticks()};
	file = open_of_reader("schedstat");
	if (file && fscanf(file, "%llu %llu", &look->reader_ran_ns, &look->reader_waited_ns) != 2)
		look->reader_ran_ns = look->reader_waited_ns = 0;
	if (file)
		fclose(file);
	return true;
}

static double percent(unsigned long long part, unsigned long long of)
{
	return of ? 100.0 * part / of : 0;
}

bool machine_busy(void)
{
	static double idle = 100, own, waits;
	static struct look before;
	static bool busy;
	struct look now;

	if (!take_look(&now))
		return busy;
	if (before.all && now.all > before.all) {
		unsigned long long ran = now.reader_ran_ns - before.reader_ran_ns, waited = now.reader_waited_ns - before.reader_waited_ns;
		idle += (percent(now.idle - before.idle, now.all - before.all) - idle) * WEIGHT;
		own += (percent(now.reader - before.reader, now.all - before.all) - own) * WEIGHT;
		waits += (percent(waited, ran + waited) - waits) * WEIGHT;
		/* What the reader uses would be idle without it, unless others are waiting for just that. */
		if (idle + own < BUSY_BELOW || (idle < BUSY_BELOW && waits > COMPETES_ABOVE))
			busy = true;
		else if (idle > CALM_ABOVE || (idle + own > CALM_ABOVE && waits < COMPETES_ABOVE))
			busy = false;
	}
	before = now;
	return busy;
}
