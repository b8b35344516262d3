"""Words that a line break should not separate from their neighbor: articles, prepositions, conjunctions and the like.

The rule is that of Netflix's Timed Text Style Guide ("Line treatment") and the BBC's Subtitle Guidelines. The words are
the frequent ones of the closed classes that Universal Dependencies calls DET, ADP, CCONJ and SCONJ, with their elided
and contracted forms, and common titles and abbreviations. Chinese, Japanese and Thai have no entries, because BudouX
keeps their particles with the word (see `line_breaks`).
"""

# Each entry is "language: words;". These belong to the next word, as in "the house".
_BEFORE_A_WORD = """
    ar: في من إلى على عن مع بين حتى منذ عند لدى خلال بعد قبل تحت فوق أمام وراء حول دون بدون ضد أن إن لأن كي لكي إذا
        لو ما لا لم لن قد سوف هذا هذه ذلك تلك كل بعض أي غير مثل يا أو ثم أم لكن هل كان كانت ليس;
    ca: el la els les un una uns unes l' d' s' n' m' t' de del dels a al als en amb per pel pels sense sobre sota
        entre fins des cap contra durant i o ni però que si com quan perquè meu meva aquest aquesta aquell aquella
        aquests aquestes cada tot tota molt no em et es ens us hi ho;
    cs: a i o u v ve k ke s se z ze do na od ode po pod pode pro před přede přes při bez beze mezi nad nade za kolem
        podle kvůli ale nebo ani že aby když jestli protože ten ta to tento tato toto můj moje tvůj jeho její náš
        váš ne;
    cy: y yr 'r a ac i o yn ar at am gan gyda wrth dan dros drwy trwy heb rhwng hyd er cyn wedi ond neu na nac os
        pan fod fy dy ei ein eich eu pob mewn i'r o'r a'r;
    da: den det de en et i på til af fra med for om ved under over mellem efter før uden mod og eller men at som der
        hvis når fordi min din sin hans hendes vores jeres deres denne dette disse ikke;
    de: der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner mein meine meinen
        meinem meiner dein deine sein seine seinen seinem seiner ihr ihre ihren ihrem ihrer unser unsere unseren
        euer eure dieser diese dieses diesen diesem jeder jede jedes jeden jedem welche welcher in im ins an am ans
        auf aus bei beim mit nach von vom vor vorm zu zum zur für durch um ohne gegen über unter zwischen hinter
        neben seit bis während wegen trotz und oder aber denn sondern dass ob weil wenn als wie sehr nicht herr frau
        dr. prof. nr. st.;
    el: ο η το οι τα τον την του της των τους τις ένας μια ένα σε στο στη στην στον στα στους στις από με για προς
        χωρίς μετά πριν κατά και ή αλλά ότι πως να θα αν όταν γιατί μου σου δεν μην;
    en: a an the this that these those my your his her its our their no every each some any of in on at to for from
        with by into onto over under between through about against during without within upon off near per like than
        as and or but nor so if because when while whether not very mr. mrs. ms. dr. prof. st.;
    es: el la los las un una unos unas lo al del de a en con por para sin sobre entre hasta desde hacia según contra
        durante tras ante bajo y e o u ni pero que si como cuando porque aunque mi mis tu tus su sus nuestro nuestra
        este esta estos estas ese esa aquel aquella cada muy no me te se le les nos sr. sra. dr. dra.;
    et: ja ning või ega aga kuid vaid et kui sest see need minu sinu tema meie teie nende üks iga ei väga ilma enne
        pärast üle alla koos;
    fa: از به در با بر برای تا بی بدون درباره بین روی زیر پیش پس هر این آن چند هیچ یک و یا اما که اگر چون ولی نه می
        نمی;
    fi: ja tai sekä mutta vaan että jos kun koska jotta kuin tämä nämä se ne minun sinun hänen meidän teidän heidän
        joka ei ennen ilman kohti;
    fil: ang ng sa mga si ni kay at o pero na kung;
    fr: le la les l' un une des du de d' au aux à en dans par pour sur sous avec sans chez vers entre contre depuis
        pendant avant après dès jusque et ou ni mais donc car que qu' qui si comme quand lorsque puisque parce mon
        ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce cet cette ces chaque quelque tout toute très
        ne n' je j' me m' te t' se s' y c' m. mme dr;
    hi: और या लेकिन कि अगर यह वह ये वे मेरा मेरी मेरे तेरा आपका आपकी उसका उसकी एक हर नहीं बहुत श्री;
    hu: a az egy és vagy de hogy ha mert ez ezt azt minden nem nagyon mint;
    id: di ke dari pada untuk dengan oleh dalam antara tanpa tentang sampai sejak dan atau tetapi tapi bahwa jika
        kalau karena yang para sebuah seorang setiap semua tidak sangat si sang;
    it: il lo la i gli le l' un uno una un' di a da in con su per tra fra del dello della dell' dei degli delle al
        allo alla all' ai agli alle dal dallo dalla dall' dai dagli dalle nel nello nella nell' nei negli nelle sul
        sullo sulla sull' sui sugli sulle senza sotto sopra verso contro dopo prima durante e ed o ma né che se come
        quando perché mio mia miei mie tuo tua suo sua suoi sue nostro nostra vostro loro questo questa questi
        queste quel quella ogni molto non mi ti si ci vi sig. dott.;
    lt: ir arba bet kad jei kai nes į iš su be prie po per apie už nuo iki ant dėl prieš tarp mano tavo savo šis ši
        tas ta kiekvienas ne;
    lv: un vai bet ka ja kad jo uz no ar bez pie pēc par pa ap pirms starp līdz dēļ zem virs mans mana tavs tava
        savs sava šis šī tas tā katrs ne;
    mn: энэ тэр эдгээр миний чиний түүний манай таны нэг бүр маш ба болон эсвэл харин;
    nb: den det de en ei et i på til av fra med for om ved under over mellom etter før uten mot og eller men at som
        hvis når fordi min din sin hans hennes vår deres denne dette disse ikke;
    nl: de het een 't in op aan van voor met bij naar uit over onder tussen door om tot zonder tegen na sinds
        tijdens te en of maar want dat als omdat wanneer mijn jouw zijn haar ons onze jullie hun uw deze dit die
        elke ieder geen heel niet dhr. mevr. dr.;
    pl: a i o u w we z ze do na od ode po pod pode dla przez przed przede przy bez nad między za ale lub albo ani że
        żeby gdy jeśli bo ten ta to mój moja twój jego jej nasz wasz nie się;
    pt: o a os as um uma uns umas de do da dos das em no na nos nas num numa ao à aos às por pelo pela pelos pelas
        para com sem sobre sob entre até desde contra durante e ou nem mas que se como quando porque meu minha meus
        minhas teu tua seu sua seus suas nosso nossa este esta estes estas esse essa aquele aquela cada muito não me
        te lhe sr. sra. dr. dra.;
    ro: un o unui unei niște de la în din cu pe pentru prin fără sub peste între până după despre către și sau dar
        ci că să dacă când cum al a ai ale cel cea cei cele acest această acel fiecare foarte nu se îmi îți;
    ru: в во на с со к ко у о об обо от ото из изо за по под подо над надо для без безо до при про через перед между
        и а но или да ни что чтобы если когда как потому мой моя моё мои твой твоя его её их наш наша ваш этот эта
        это эти тот та те каждый не очень;
    sk: a i o u v vo k ku s so z zo do na od odo po pod pre pred cez pri bez medzi nad za ale alebo ani že aby keď
        ak lebo ten tá to môj moja tvoj jeho jej náš váš nie;
    sl: in ali pa ampak a da če ko ker v na z s k h o od do iz za po pod pred pri brez med nad čez ob ta to tisti
        moj moja tvoj njegov njen naš vaš vsak ne zelo;
    sv: den det de en ett i på till av från med för om vid under över mellan efter före utan mot hos och eller men
        att som när eftersom min mitt mina din ditt sin sitt hans hennes vår vårt ert deras denna detta dessa varje
        inte mycket;
    sw: wa ya za la cha kwa na au lakini kama ni;
    ta: இந்த அந்த எந்த ஒரு என் உன் அவர் நம் எங்கள் உங்கள் ஒவ்வொரு மிக மிகவும்;
    tr: bir bu şu o her hiç çok en ve veya ya ama fakat eğer çünkü benim senin onun bizim sizin;
    uk: в у на з із зі до к від од о об за по під над для без при про через перед між і й та а але або чи ні що щоб
        якщо коли як мій моя твій його її наш ваш цей ця це ці той кожний не дуже;
    vi: một các những mỗi mọi và hoặc nhưng rằng nếu khi vì của ở trong trên dưới với cho từ đến tại về bởi không
        rất;
"""

# These belong to the word before: postpositions and particles.
_AFTER_A_WORD = """
    et: ees taga all peal juures kohta pärast läbi vastu järgi eest peale alla üle jaoks;
    fa: را ها های ای است;
    fi: kanssa jälkeen takia vuoksi alla päällä edessä takana luona kautta mukaan;
    hi: का की के को में पर से ने तक भी ही है हैं था थी थे वाला वाली;
    hu: alatt fölött előtt mögött mellett között után óta felé miatt nélkül szerint által is;
    ko: 및 때 것 수 등 뿐;
    mn: дээр доор дотор гадна өмнө хойно тухай шиг руу рүү юу юм уу үү бол;
    ta: மற்றும் பற்றி மேல் கீழ் முன் பின் உடன் மூலம் இருந்து என்று என;
    tr: için ile gibi kadar göre sonra önce de da mi mı mu mü ki doğru karşı beri;
"""


def _parse(table: str) -> dict[str, frozenset[str]]:
    entries = (entry.split(":") for entry in table.split(";") if entry.strip())
    return {language.strip(): frozenset(words.split()) for language, words in entries}


BINDS_NEXT = _parse(_BEFORE_A_WORD)
BINDS_PREVIOUS = _parse(_AFTER_A_WORD)
