// SPDX-License-Identifier: MIT
// Ends the process at once, as the runtime does itself when it cannot go on.
using System;

class FailFast
{
    static int Main()
    {
        Console.WriteLine("failing fast");
        Environment.FailFast("on purpose");
        return 1;
    }
}
