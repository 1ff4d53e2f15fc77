// SPDX-License-Identifier: MIT
// Fills the memory it was told to, drops it, and then allocates nothing for some seconds: if there
// is a collection in that time, the runtime was told that memory is low.
//
// linger MEGABYTES SECONDS
using System;
using System.Collections.Generic;
using System.Threading;

class Linger
{
    static int Fill(int megabytes)
    {
        var arrays = new List<byte[]>();
        for (int i = 0; i < 16 * megabytes; i++)
        {
            arrays.Add(new byte[64 * 1024]);
        }
        return arrays.Count;
    }

    static string Collections()
    {
        return string.Format("{0}/{1}/{2}", GC.CollectionCount(0), GC.CollectionCount(1),
            GC.CollectionCount(2));
    }

    static int Main(string[] args)
    {
        int arrays = Fill(int.Parse(args[0]));
        int before = GC.CollectionCount(0);
        string collections = Collections();
        Console.WriteLine("filled");
        Thread.Sleep(1000 * int.Parse(args[1]));
        int idle = GC.CollectionCount(0) - before;
        Console.WriteLine("{0} arrays, collections before {1}, after {2}, idle {3}", arrays,
            collections, Collections(), idle);
        return 42;
    }
}
