/* SPDX-License-Identifier: MIT
 *
 * The lock of src/os/os_lock.h and os_lock_win32.c as a model for Spin: three threads take and
 * release one lock, each twice. Waiting for the address is one step: to fall asleep if the word still
 * has the value, which is what the system promises; a sleeper runs on when it is woken. The last
 * thread may be suspended while it waits, for ever.
 *
 * Checked: one thread at a time holds the lock; who is not suspended does not sleep for ever.
 *
 * Defined by check.cmake, one at a time, each a mistake that Spin has to find:
 *   WAKE_ONE         one sleeper is woken, which may be the suspended one
 *   SLEEP_UNSAID     a thread sleeps without having written the 2
 *   WAKE_BEFORE      the sleeper is woken before the lock is free
 *   LOOK_AND_SET     the word is read and then written, in two steps
 */
#define THREADS 3
#define ROUNDS 2

byte word;
byte holders;
bool asleep[THREADS];

inline wake()
{
#ifdef WAKE_ONE
    if
    :: asleep[0] -> asleep[0] = false
    :: asleep[1] -> asleep[1] = false
    :: asleep[2] -> asleep[2] = false
    :: else
    fi
#else
    asleep[0] = false;
    asleep[1] = false;
    asleep[2] = false
#endif
}

inline acquire()
{
#ifdef LOOK_AND_SET
    seen = word;
    if
    :: seen == 0 -> word = 1; goto taken
    :: else
    fi;
#else
    atomic {
        if
        :: word == 0 -> word = 1; goto taken
        :: else
        fi
    }
#endif
    do
    :: atomic {
           seen = word;
#ifndef SLEEP_UNSAID
           word = 2;
#endif
#ifdef SLEEP_UNSAID
           if :: seen == 0 -> word = 2 :: else fi;
#endif
       }
       if
       :: seen == 0 -> break
       :: else
       fi;
       atomic {
           if
#ifdef SLEEP_UNSAID
           :: word != 0 -> asleep[_pid] = true
#else
           :: word == 2 -> asleep[_pid] = true
#endif
           :: else
           fi
       }
       if
       :: !asleep[_pid]
       :: _pid == THREADS - 1 -> goto suspended
       fi
    od;
taken:
    skip
}

inline release()
{
#ifdef WAKE_BEFORE
    seen = word;
    atomic {
        if
        :: seen == 2 -> wake()
        :: else
        fi
    }
    word = 0
#else
    atomic {
        seen = word;
        word = 0
    }
    if
    :: seen == 2 -> atomic { wake() }
    :: else
    fi
#endif
}

active [THREADS] proctype thread()
{
    byte seen, round;
    do
    :: round == ROUNDS -> break
    :: else ->
        acquire();
        holders++;
        assert(holders == 1);
        holders--;
        release();
        round++
    od;
    goto done;
suspended:
end_suspended:
    false;
done:
    skip
}
