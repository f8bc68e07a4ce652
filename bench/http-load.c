// Paced HTTP/1.1 load over kept-alive loopback connections, a thread for each end: four socket calls a request.
// http-load PORT CONNECTIONS REQUESTS_PER_SECOND SECONDS   -> one JSON line with what it did
// The server is a process of its own (forked), so that both ends are traced as different processes.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char RESPONSE[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n";
static atomic_ulong requests, calls, late_ns, failed;
static double rate_per_connection;
static int seconds, port;

static long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *serve(void *arg)
{
	int fd = (int)(long)arg;
	char buffer[4096];
	while (read(fd, buffer, sizeof(buffer)) > 0)
		if (write(fd, RESPONSE, sizeof(RESPONSE) - 1) < 0)
			break;
	close(fd);
	return NULL;
}

static void server(int listener)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t thread;
		int one = 1;
		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		pthread_create(&thread, NULL, serve, (void *)(long)fd);
		pthread_detach(thread);
	}
}

static void *client(void *arg)
{
	long number = (long)arg;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	char buffer[4096];
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		failed++;
		return NULL;
	}
	long start = now_ns(), end = start + seconds * 1000000000L;
	long step = (long)(1e9 / rate_per_connection), due = start + number * step / 32;
	for (long i = 0; due < end; i++, due += step) {
		long now = now_ns();
		if (now < due) {
			struct timespec t = { due / 1000000000L, due % 1000000000L };
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		} else if (now - due > 2000000000L) {
			break; /* hopelessly behind: the rate is not reached, and the figures say so */
		} else {
			late_ns += now - due;
		}
		int n = snprintf(buffer, sizeof(buffer), "GET /load/%ld-%ld HTTP/1.1\r\nHost: load\r\nUser-Agent: http-load\r\nAccept: */*\r\n\r\n", number, i);
		if (write(fd, buffer, n) != n || read(fd, buffer, sizeof(buffer)) <= 0) {
			failed++;
			break;
		}
		requests++;
		calls += 4;
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: http-load PORT CONNECTIONS REQUESTS_PER_SECOND SECONDS\n");
		return 2;
	}
	port = atoi(argv[1]);
	int connections = atoi(argv[2]), one = 1;
	rate_per_connection = atof(argv[3]) / connections;
	seconds = atoi(argv[4]);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 1024) < 0) {
		fprintf(stderr, "http-load: port %d: %s\n", port, strerror(errno));
		return 1;
	}
	pid_t child = fork();
	if (child == 0)
		server(listener);
	close(listener);
	pthread_t threads[connections];
	long start = now_ns();
	for (long i = 0; i < connections; i++)
		pthread_create(&threads[i], NULL, client, (void *)i);
	for (int i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	double took = (now_ns() - start) / 1e9;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("{\"requests\":%lu,\"calls\":%lu,\"seconds\":%.3f,\"failed\":%lu,\"mean_late_us\":%.1f}\n", requests, calls, took, failed, requests ? late_ns / 1e3 / requests : 0.0);
	return failed != 0;
}
