.section xdp
case:
    r0 = r11
    exit
