/* Copyright: the openstack.upgrade_test contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The least that such a probe costs: timerfd, epoll, one GET at each jittered moment of an open-loop schedule, the
 * kernel's time of arrival, answers counted, nothing kept.
 * Usage: floor PORT RATE PROBES new|kept
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 64, MOST_SOCKETS = 4096, SECOND = 1000000000, JITTER = 5 };

static int epoll, timer, keep, idle = -1;
static long answered, failed;
static int64_t slot, period;
static uint64_t longest;
static char connecting[MOST_SOCKETS];
static struct sockaddr_in peer;
static char request[256];
static size_t length;

static void ask(int fd) {
  if (send(fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) failed++;
}

static void probe(void) {
  if (keep && idle >= 0) {
    int fd = idle;
    idle = -1;
    ask(fd);
    return;
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || fd >= MOST_SOCKETS || (connect(fd, (struct sockaddr *)&peer, sizeof peer) && errno != EINPROGRESS)) {
    failed++;
    return;
  }
  int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
  connecting[fd] = 1;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void plan(void) {
  int64_t moment = slot + rand() % (period / JITTER);
  slot += period;
  struct itimerspec setting = {.it_value = {.tv_sec = moment / SECOND, .tv_nsec = moment % SECOND}};
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &setting, NULL);
}

/* The greatest age of an answer, which stands for what would be recorded. */
static void note_arrival(struct msghdr *message) {
  struct timespec now, arrival;
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (!header || header->cmsg_type != SO_TIMESTAMPNS) return;
  memcpy(&arrival, CMSG_DATA(header), sizeof arrival);
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t age = (uint64_t)((now.tv_sec - arrival.tv_sec) * SECOND + now.tv_nsec - arrival.tv_nsec);
  if (age > longest) longest = age;
}

static void handle(int fd, uint32_t events) {
  char answer[16384], control[64];
  struct iovec room = {.iov_base = answer, .iov_len = sizeof answer};
  struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (connecting[fd] && events & EPOLLOUT) {
    connecting[fd] = 0;
    ask(fd);
  }
  if (!(events & EPOLLIN)) return;
  ssize_t got = recvmsg(fd, &message, 0);
  note_arrival(&message);
  if (got > 12 && !memcmp(answer + 9, "200", 3)) answered++;
  else failed++;
  if (keep && idle < 0) idle = fd;
  else close(fd);
}

int main(int count, char **words) {
  if (count != 5) return 2;
  long rate = atol(words[2]), probes = atol(words[3]), sent = 0;
  keep = !strcmp(words[4], "kept");
  peer.sin_family = AF_INET;
  peer.sin_port = htons((uint16_t)atoi(words[1]));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  length = (size_t)snprintf(request, sizeof request,
      "GET / HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nUser-Agent: floor\r\nAccept: */*\r\nConnection: %s\r\n\r\n", words[1],
      keep ? "keep-alive" : "close");
  epoll = epoll_create1(EPOLL_CLOEXEC);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  slot = (int64_t)now.tv_sec * SECOND + now.tv_nsec;
  period = SECOND / rate;
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = timer};
  epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
  plan();
  while (answered + failed < probes) {
    struct epoll_event events[MOST_EVENTS];
    int ready = epoll_wait(epoll, events, MOST_EVENTS, 1000);
    if (ready == 0 && sent >= probes) break;
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != timer) {
        handle(events[i].data.fd, events[i].events);
        continue;
      }
      if (sent++ < probes) {
        probe();
        plan();
      }
    }
  }
  fprintf(stderr, failed ? "floor: %ld of %ld failed\n" : "", failed, probes);
  return failed > probes / 100;
}
