/* SPDX-License-Identifier: MIT
 *
 * The lock-free lookup of src/core (slot_map.c, region_table.c) as a model for Spin, which walks
 * through every interleaving of two writers and a reader, one atomic access at a time.
 *
 * The address space is one root entry of two slots of two addresses each. A region of 1 address has
 * a tail, one of 4 is written into the root's word, `whole`; one of several slots would be, for a
 * reader, who looks at one of them, no other than one of 1. There are two ids, so that they are
 * reused at once. A writer reserves, or releases whatever region it finds at some address; both may
 * pick the same.
 * Each reservation has a life of its own, by which the model knows what was true when; the code
 * under test sees of it only what a descriptor says.
 *
 * Checked, for each call of find:
 *   a region that it answers was live, with that base and size, at some moment of the call;
 *   it answers none only if there was a moment of the call at which nothing was published there;
 *   it looks again only when a writer has done something since it looked, so it ends though every
 *   other thread may be suspended anywhere;
 * that who locks a region holds one that is alive, and that at the end every slot leads to its owner.
 *
 * Spin runs accesses in the order of the program. That the processor and the compiler keep that
 * order as far as it matters is argued at the head of slot_map.c and region_table.c.
 *
 * Defined by check.cmake, one at a time, each a mistake that Spin has to find:
 *   RELEASE_BEFORE_CLEAR   the OS gets the addresses back before their slots are cleared
 *   SEQ_BEFORE_CLEAR       seq turns even before the slots are cleared
 *   SLOTS_BEFORE_SEQ       the id is in the slots before seq turns odd
 *   PUBLISH_UNLOCKED       publish does not hold the region's lock
 *   NO_SECOND_LOOK         find does not look at seq again
 *   NO_LOOK_UNDER_LOCK     lock does not look at seq again
 */
#define SLOTS 2
#define PER_SLOT 2
#define ADDRESSES (SLOTS * PER_SLOT)
#define IDS 2
#define LIVES 4 /* two at the start, and one more by each writer */

#define INSIDE(address, base, size) ((address) >= (base) && (address) < (base) + (size))

/* slot_map */
byte whole;
byte slots[SLOTS];

/* region_table, by id */
typedef descriptor {
    byte seq;
    byte base;
    byte size;
    byte life; /* stands for type and protect */
    bool locked
};
descriptor regions[IDS + 1];
chan free_ids = [IDS] of { byte };

/* The operating system, and what the model knows. */
byte owner[SLOTS]; /* the life that has the slot, or 0 */
typedef truth {
    byte base;
    byte size;
    bool live;      /* from the OS's VirtualAlloc to its VirtualFree */
    bool withdrawn; /* so far */
    bool seen       /* live at some moment of the reader's call */
};
truth lives[LIVES + 1];
byte lives_used;
byte wanted;    /* the address that the reader looks for */
bool published; /* there, from the end of publish to the start of withdraw */
bool missed;    /* it was not, at some moment of the call */
bool changed;   /* by a writer, since the reader last asked the slot, */
bool changed_before; /* or between that and when it had asked before */
#define READER 3 /* its _pid */

/* ---- slot_map.c ---- */

inline slot_map_set(base, size, id)
{
    if
    :: size == ADDRESSES -> d_step { whole = id; changed = true }
    :: else -> d_step { slots[base / PER_SLOT] = id; changed = true }
    fi
}

inline slot_map_get(address, id)
{
    id = whole;
    if
    :: id == 0 -> id = slots[address / PER_SLOT]
    :: else
    fi
}

/* ---- region_table.c: lookup ---- */

inline read_region(id)
{
    seq = regions[id].seq;
    base = regions[id].base;
    size = regions[id].size;
    life = regions[id].life;
#ifdef NO_SECOND_LOOK
    live = seq % 2 == 1
#else
    live = seq % 2 == 1 && regions[id].seq == seq
#endif
}

inline ask_slot(address, id)
{
    d_step {
        if
        :: _pid == READER -> changed_before = changed; changed = false
        :: else
        fi
    }
    slot_map_get(address, id)
}

/* id, and what read_region found; id is 0 for none */
inline find_id(address)
{
    ask_slot(address, id);
    do
    :: id == 0 -> break
    :: else ->
        read_region(id);
        if
        :: live && INSIDE(address, base, size) -> break
        :: else
        fi;
        ask_slot(address, again);
        if
        :: live && again == id && regions[id].seq == seq -> id = 0
        :: else -> id = again; assert(id == 0 || changed || changed_before || _pid != READER)
        fi
    od
}

inline region_lock()
{
    atomic { !regions[id].locked -> regions[id].locked = true }
}

inline region_table_lock(address)
{
    do
    :: find_id(address);
        if
        :: id == 0 -> break
        :: else
        fi;
        region_lock();
#ifdef NO_LOOK_UNDER_LOCK
        break;
#endif
        if
        :: regions[id].seq == seq -> break
        :: else -> regions[id].locked = false
        fi
    od
}

/* ---- region_table.c: publish and withdraw ---- */

inline now_published()
{
    d_step {
        published = published || (INSIDE(wanted, base, size) && !lives[life].withdrawn)
    }
}

inline now_withdrawn(value)
{
    d_step {
        lives[life].withdrawn = value;
        if
        :: INSIDE(wanted, base, size) -> published = !value; missed = missed || value
        :: else
        fi
    }
}

inline bump_seq()
{
    d_step { regions[id].seq++; changed = true }
}

inline publish()
{
    regions[id].base = base;
    regions[id].size = size;
    regions[id].life = life;
#ifndef PUBLISH_UNLOCKED
    region_lock();
#endif
#ifdef SLOTS_BEFORE_SEQ
    slot_map_set(base, size, id);
    bump_seq();
#else
    bump_seq();
    slot_map_set(base, size, id);
#endif
    now_published();
    regions[id].locked = false
}

inline withdraw()
{
    now_withdrawn(true);
#ifdef SEQ_BEFORE_CLEAR
    bump_seq();
    slot_map_set(base, size, 0)
#else
    slot_map_set(base, size, 0);
    bump_seq()
#endif
}

inline restore()
{
    bump_seq();
    slot_map_set(base, size, id);
    now_withdrawn(false)
}

/* ---- the operating system ---- */

inline os_take(value)
{
    owner[base / PER_SLOT] = value;
    owner[(base + size - 1) / PER_SLOT] = value
}

inline os_reserve()
{
    d_step {
        life = 0;
        if
        :: owner[base / PER_SLOT] == 0 && owner[(base + size - 1) / PER_SLOT] == 0 ->
            lives_used++;
            life = lives_used;
            os_take(life);
            lives[life].base = base;
            lives[life].size = size;
            lives[life].live = true;
            lives[life].seen = true
        :: else
        fi
    }
}

inline os_release()
{
    d_step {
        assert(lives[life].live); /* nobody releases twice */
        os_take(0);
        lives[life].live = false
    }
}

/* ---- virtual_memory.c ---- */

inline reserve()
{
    if
    :: free_ids ? id ->
        if
        :: base = 0; size = 1
        :: base = 2; size = 1
        :: base = 0; size = 4
        fi;
        os_reserve();
        if
        :: life != 0 -> publish()
        :: else -> free_ids ! id
        fi
    :: empty(free_ids)
    fi
}

inline release()
{
    if
    :: address = 0
    :: address = 2
    fi;
    region_table_lock(address);
    if
    :: id == 0
    :: else ->
        assert(lives[life].live && lives[life].base == base && lives[life].size == size);
#ifdef RELEASE_BEFORE_CLEAR
        os_release();
        withdraw();
        regions[id].locked = false;
        free_ids ! id
#else
        withdraw();
        if
        :: os_release();
            regions[id].locked = false;
            free_ids ! id
        :: restore(); /* the OS refuses */
            regions[id].locked = false
        fi
#endif
    fi
}

/* ---- the threads ---- */

proctype writer()
{
    byte id, again, seq, base, size, life, address;
    bool live;
    release();
    atomic { id = 0; again = 0; seq = 0; base = 0; size = 0; life = 0; address = 0; live = false }
    reserve()
}

proctype reader()
{
    byte id, again, seq, base, size, life;
    bool live;
    d_step {
        missed = !published;
        do
        :: life <= LIVES -> lives[life].seen = lives[life].live; life++
        :: else -> break
        od;
        life = 0
    }
    find_id(wanted);
    atomic {
        if
        :: id == 0 -> assert(missed)
        :: else ->
            assert(lives[life].seen && lives[life].base == base && lives[life].size == size);
            assert(INSIDE(wanted, base, size))
        fi
    }
}

/* A region at the start. */
inline given(at, bytes)
{
    base = at;
    size = bytes;
    os_reserve();
    id = life;
    publish()
}

inline slot_leads_to_owner(slot)
{
    slot_map_get(slot * PER_SLOT, id);
    assert((id == 0) == (owner[slot] == 0));
    assert(id == 0 || (regions[id].seq % 2 == 1 && regions[id].life == owner[slot]))
}

init {
    byte id, base, size, life;
    atomic {
        if
        :: wanted = 0
        :: wanted = 1
        fi;
        if
        :: given(0, 4); free_ids ! 2
        :: given(0, 1); given(2, 1)
        fi;
        id = 0; base = 0; size = 0; life = 0;
        run writer();
        run writer();
        run reader()
    };
    _nr_pr == 1; /* all have ended */
    slot_leads_to_owner(0);
    slot_leads_to_owner(1)
}
